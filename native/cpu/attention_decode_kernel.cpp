/*
Attention of the newest rows of each sequence against its cache, which is read where it is, block by block.

Keys are taken in chunks, each for one key head and all rows and query heads that read it: scores, their largest, exponentials, and
the sum of the values. Chunks are joined by their largest scores afterwards. They do not depend on the number of threads, so the
bits do not.
*/
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace peft4j {
namespace CPU_CAPABILITY {
namespace {

constexpr int64_t kChunk = 256;  // keys, those of the prefix first

// Keys [begin, end) of sequence s, where the prefix has the numbers below 0.
struct Task {
  int64_t sequence, head, begin, end;
};

template <class A>
A dot(const A* x, const A* y, int64_t n) {
  constexpr int W = Vec<A>::size();
  Vec<A> sums(A(0));
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    sums = at::vec::fmadd(Vec<A>::loadu(x + i), Vec<A>::loadu(y + i), sums);
  }
  A sum = sum_of_lanes(sums);
  for (; i < n; ++i) {
    sum += x[i] * y[i];
  }
  return sum;
}

// to[d] = Σ_j weights[j] rows[j][d]
template <class A>
void weighted_sum(const A* weights, const A* const* rows, int64_t n, int64_t size, A* to) {
  constexpr int W = Vec<A>::size(), kVectors = 4;
  int64_t d = 0;
  for (; d + kVectors * W <= size; d += kVectors * W) {
    Vec<A> sums[kVectors];
    std::fill_n(sums, kVectors, Vec<A>(A(0)));
    for (int64_t j = 0; j < n; ++j) {
      const Vec<A> weight(weights[j]);
      for (int v = 0; v < kVectors; ++v) {
        sums[v] = at::vec::fmadd(weight, Vec<A>::loadu(rows[j] + d + v * W), sums[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      sums[v].store(to + d + v * W);
    }
  }
  for (; d < size; ++d) {
    A sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      sum += weights[j] * rows[j][d];
    }
    to[d] = sum;
  }
}

// x[j] = exp(x[j] - largest), 0 for -infinity; their sum.
template <class A>
A exponentials(A* x, int64_t n, A largest) {
  constexpr int W = Vec<A>::size();
  A sum = 0;
  int64_t j = 0;
  for (; j + W <= n; j += W) {
    const Vec<A> e = fast_exp(Vec<A>::loadu(x + j) - Vec<A>(largest));
    e.store(x + j);
    sum += sum_of_lanes(e);
  }
  for (; j < n; ++j) {
    x[j] = std::exp(x[j] - largest);
    sum += x[j];
  }
  return sum;
}

template <class T, class A>
class Decode {
 public:
  explicit Decode(const DecodeParams& p) : p_(p), rows_(p.queries * (p.query_heads / p.key_heads)) {
    for (int64_t s = 0; s < p.sequences; ++s) {
      for (int64_t head = 0; head < p.key_heads; ++head) {
        tasks_of(s, head);
      }
      first_.push_back(static_cast<int64_t>(tasks_.size()));
    }
    sums_.resize(tasks_.size() * rows_ * p.head_size);
    totals_.resize(tasks_.size() * rows_);
    largest_.resize(tasks_.size() * rows_);
  }

  void run() {
    at::parallel_for(0, static_cast<int64_t>(tasks_.size()), 1, [&](int64_t begin, int64_t end) {
      Buffers buffers(rows_, p_.head_size);
      for (int64_t i = begin; i < end; ++i) {
        compute(i, buffers);
      }
    });
    at::parallel_for(0, p_.sequences, 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        join(s);
      }
    });
  }

 private:
  struct Buffers {
    Buffers(int64_t rows, int64_t size) : weights(rows * kChunk), keys(kChunk), q(size) {
      if constexpr (!std::is_same_v<T, A>) {
        widened.resize(kChunk * size);
      }
    }
    std::vector<A> weights;  // of the values: a row of the task has kChunk
    std::vector<const A*> keys;  // or values
    std::vector<A> q, widened;
  };

  int64_t keys_of(int64_t s) const { return p_.begin_k[s + 1] - p_.begin_k[s]; }

  // The prefix, and what a window leaves; at least one task, for rows that see nothing.
  void tasks_of(int64_t s, int64_t head) {
    const int64_t n = keys_of(s);
    const int64_t first = p_.window > 0 ? std::max<int64_t>(0, n - p_.queries - p_.window + 1) : 0;
    const size_t before = tasks_.size();
    for (int64_t j = 0; j < p_.prefix; j += kChunk) {
      tasks_.push_back({s, head, j - p_.prefix, std::min(j + kChunk, p_.prefix) - p_.prefix});
    }
    for (int64_t j = first; j < n; j += kChunk) {
      tasks_.push_back({s, head, j, std::min(j + kChunk, n)});
    }
    if (tasks_.size() == before) {
      tasks_.push_back({s, head, 0, 0});
    }
  }

  const T* place(const void* cache, const void* prefix, const Task& task, int64_t key) const {
    if (key < 0) {
      return static_cast<const T*>(prefix) + task.sequence * p_.prefix_stride +
             ((key + p_.prefix) * p_.key_heads + task.head) * p_.head_size;
    }
    const int64_t head = task.head * p_.head_size;
    return static_cast<const T*>(cache) + head +
           (p_.block_table == nullptr
                ? (p_.begin_k[task.sequence] + key) * p_.row_stride
                : p_.block_table[task.sequence * p_.max_blocks + key / p_.block_size] * p_.block_stride +
                      key % p_.block_size * p_.row_stride);
  }

  // Where the task's keys (or values) are, widened where they are not of the type we compute in.
  void find(const void* cache, const void* prefix, const Task& task, Buffers& buffers) const {
    for (int64_t key = task.begin; key < task.end; ++key) {
      const T* from = place(cache, prefix, task, key);
      const int64_t j = key - task.begin;
      if constexpr (std::is_same_v<T, A>) {
        buffers.keys[j] = from;
      } else {
        A* to = buffers.widened.data() + j * p_.head_size;
        load_row(to, from, p_.head_size);
        buffers.keys[j] = to;
      }
    }
  }

  // Row r of a task: query head r / queries of the group and row r % queries of the sequence.
  int64_t query_of(const Task& task, int64_t r) const { return task.sequence * p_.queries + r % p_.queries; }
  int64_t head_of(const Task& task, int64_t r) const {
    return task.head * (p_.query_heads / p_.key_heads) + r / p_.queries;
  }

  // The task's keys, counted from its first, that row r of it sees.
  std::pair<int64_t, int64_t> seen(const Task& task, int64_t r) const {
    if (task.begin < 0) {
      return {0, task.end - task.begin};
    }
    const int64_t last = keys_of(task.sequence) - p_.queries + r % p_.queries;
    const int64_t first = p_.window > 0 ? last - p_.window + 1 : 0;
    const int64_t begin = std::clamp(first, task.begin, task.end) - task.begin;
    return {begin, std::max(begin, std::clamp(last + 1, task.begin, task.end) - task.begin)};
  }

  void compute(int64_t i, Buffers& buffers) {
    const Task& task = tasks_[i];
    // Of all rows first the scores, which need the keys, then the sums, which need the values.
    find(p_.k, p_.prefix_k, task, buffers);
    for (int64_t r = 0; r < rows_; ++r) {
      load_row(buffers.q.data(),
               static_cast<const T*>(p_.q) + query_of(task, r) * p_.q_stride + head_of(task, r) * p_.head_size,
               p_.head_size);
      const auto [begin, end] = seen(task, r);
      A* row = buffers.weights.data() + r * kChunk;
      A largest = -std::numeric_limits<A>::infinity();
      for (int64_t j = begin; j < end; ++j) {
        row[j] = static_cast<A>(p_.scale) * dot(buffers.q.data(), buffers.keys[j], p_.head_size);
        if (p_.softcap > 0) {
          row[j] = static_cast<A>(p_.softcap) * std::tanh(row[j] / static_cast<A>(p_.softcap));
        }
        largest = row[j] > largest ? row[j] : largest;
      }
      largest_[i * rows_ + r] = largest;
      totals_[i * rows_ + r] = exponentials(row + begin, end - begin, largest);
    }
    find(p_.v, p_.prefix_v, task, buffers);
    for (int64_t r = 0; r < rows_; ++r) {
      const auto [begin, end] = seen(task, r);
      weighted_sum(buffers.weights.data() + r * kChunk + begin, buffers.keys.data() + begin, end - begin, p_.head_size,
                   sums_.data() + (i * rows_ + r) * p_.head_size);
    }
  }

  void join(int64_t s) {
    std::vector<A> sum(p_.head_size);
    for (int64_t i = s == 0 ? 0 : first_[s - 1]; i < first_[s];) {
      int64_t end = i;
      while (end < first_[s] && tasks_[end].head == tasks_[i].head) {
        ++end;
      }
      for (int64_t r = 0; r < rows_; ++r) {
        A largest = -std::numeric_limits<A>::infinity(), total = 0;
        for (int64_t c = i; c < end; ++c) {
          largest = std::max(largest, largest_[c * rows_ + r]);
        }
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t c = i; c < end; ++c) {
          const int64_t at = c * rows_ + r;
          if (totals_[at] == 0) {
            continue;  // it saw nothing
          }
          const A share = std::exp(largest_[at] - largest);
          total += share * totals_[at];
          for (int64_t d = 0; d < p_.head_size; ++d) {
            sum[d] += share * sums_[at * p_.head_size + d];
          }
        }
        for (int64_t d = 0; d < p_.head_size && total != 0; ++d) {
          sum[d] /= total;
        }
        store_row(
            static_cast<T*>(p_.out) + (query_of(tasks_[i], r) * p_.query_heads + head_of(tasks_[i], r)) * p_.head_size,
            sum.data(), p_.head_size);
      }
      i = end;
    }
  }

  const DecodeParams& p_;
  const int64_t rows_;  // of a task
  std::vector<Task> tasks_;
  std::vector<int64_t> first_;  // behind the tasks of each sequence
  std::vector<A> sums_, totals_, largest_;
};

}  // namespace

void attention_decode(const DecodeParams& p) {
  by_type(p.dtype, [&]<class T, class A>() { Decode<T, A>(p).run(); });
}

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
