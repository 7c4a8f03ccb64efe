#include "rows.h"

#include <ATen/ATen.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "cuda_library.h"

namespace peft4j {
namespace {

// How far apart rows of so many columns lie: each begins a line of memory. One that begins within a line shares it with the row before, and
// both read it.
int64_t pitch(int64_t columns, at::ScalarType type) {
  constexpr int64_t kLine = 128;  // bytes
  const int64_t line = kLine / static_cast<int64_t>(c10::elementSize(type));
  return (columns + line - 1) / line * line;
}

// Columns that joins take, by the columns of x. One that takes fewer brings the number down by one: several layers share a width, and
// one adapter of many ranks is forgotten in time.
class WantedRoom {
 public:
  void joined(int64_t columns, int64_t more) {
    const std::lock_guard<std::mutex> lock(mutex_);
    int64_t& room = room_[columns];
    room = std::max(more, room - 1);
  }
  int64_t room(int64_t columns) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = room_.find(columns);
    return found == room_.end() ? 0 : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, int64_t> room_;
};
WantedRoom& wanted_room = *new WantedRoom;

// Behind the memory of rows with room.
struct Room {
  c10::DataPtr memory;
  int64_t rows, columns, pitch;
  std::atomic<bool> taken = false;
};

void release_room(void* room) {
  delete static_cast<Room*>(room);
}

// The room behind x's rows, if x is what rows_with_room has made.
Room* room_behind(const at::Tensor& x) {
  const c10::DataPtr& memory = x.storage().data_ptr();
  if (memory.get_deleter() != &release_room) {
    return nullptr;
  }
  Room* const room = static_cast<Room*>(memory.get_context());
  const bool whole = x.storage_offset() == 0 && x.size(0) == room->rows && x.size(1) == room->columns &&
                     x.stride(0) == room->pitch && x.stride(1) == 1;
  return whole ? room : nullptr;
}

}  // namespace

at::Tensor with_contiguous_rows(const at::Tensor& t) {
  return t.stride(1) == 1 || t.size(1) <= 1 ? t : t.contiguous();
}

at::Tensor rows_with_room(int64_t rows, int64_t columns, const at::Tensor& like) {
  const int64_t more = on_device(like) ? wanted_room.room(columns) : 0;
  if (more == 0) {
    return at::empty({rows, columns}, like.options());
  }
  const at::Tensor all = at::empty({rows, pitch(columns + more, like.scalar_type())}, like.options());
  c10::StorageImpl* const storage = all.storage().unsafeGetStorageImpl();
  void* const data = storage->mutable_data();
  const at::Device device = storage->device();
  auto room = std::make_unique<Room>();
  room->memory = storage->set_data_ptr(c10::DataPtr(nullptr, device));
  room->rows = rows;
  room->columns = columns;
  room->pitch = all.size(1);
  storage->set_data_ptr_noswap(c10::DataPtr(data, room.get(), &release_room, device));
  static_cast<void>(room.release());  // the storage's
  return all.narrow(1, 0, columns);
}

Joined join(const at::Tensor& x, int64_t more) {
  const int64_t rows = x.size(0), columns = x.size(1);
  wanted_room.joined(columns, more);
  Room* const room = room_behind(x);
  if (room != nullptr && columns + more <= room->pitch && !room->taken.exchange(true)) {
    return {x.as_strided({rows, columns + more}, {room->pitch, 1}), true};
  }
  const int64_t apart = pitch(columns + more, x.scalar_type());
  return {at::empty({rows, apart}, x.options()).narrow(1, 0, columns + more), false};
}

at::Tensor zero_rows(int64_t rows, int64_t columns, const at::Tensor& like) {
  return at::zeros({rows, pitch(columns, like.scalar_type())}, like.options()).narrow(1, 0, columns);
}

}  // namespace peft4j
