#pragma once
/*
Which rows of a launch meet which ranks (SGMV, Chen et al. 2023: Punica): a caller's segments (peft4j_cuda.h) as kernel parameters. No copy to the card, nothing
that must outlive the call; more of them than fit are more launches.

    piece    up to 16 ranks of a segment, or of several that lie side by side in memory: what one product takes
    band     the segments of the same rows and mask
    group    a band with up to P of its pieces; a block (of the grid's x) for every tile of its rows
    pass     the launches for the first P pieces of all bands, then those for the next P, …

    for_groups(p, …, rows_of_a_tile, P, f)     host: f(table, pass) starts a launch of table.tiles blocks
    group_of(table)                            kernel: the block's group
*/
#include <algorithm>
#include <vector>

#include "numbers.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {

constexpr int kRanks = 16;   // of a piece
constexpr int kGroups = 32;  // of a launch, and pieces: 3.3 of the 4 KB of parameters that every card takes

struct Piece {
  const void* factor;  // element (j, c) at factor + j·rank_stride + c·column_stride
  int64_t rank_stride, column_stride;
  float* out;  // where rank 0 of the gradient goes, or of its partial sums: those of split s at out + s·split_stride
  int64_t split_stride;  // 0: out is the gradient itself
  int32_t out_rank_stride, out_column_stride;
  int32_t rank, column;  // columns [column, column + rank) of h
  int32_t from, to;  // these are written, with 0 outside of the own ones
  float scale;
  bool wide_factor;  // its rows may be read in 16-byte accesses
  bool wide_ranks;  // 4 ranks of a row of h may be read at once
};

struct Group {
  int64_t begin, end;
  int32_t first_tile, first_piece, pieces;
  uint32_t threshold;
};

struct Table {
  int32_t groups, pieces, tiles;
  Group group[kGroups];
  Piece piece[kGroups];

  int most_pieces() const {
    int most = 0;
    for (int i = 0; i < groups; ++i) {
      most = std::max(most, group[i].pieces);
    }
    return most;
  }
};

PEFT4J_DEVICE const Group& group_of(const Table& table) {
  int i = 0;
  while (i + 1 < table.groups && table.group[i + 1].first_tile <= static_cast<int>(blockIdx.x)) {
    ++i;
  }
  return table.group[i];
}

// ---- host

struct Band {
  int64_t begin, end;
  uint32_t threshold;
  std::vector<Piece> pieces;
};

// The ranks' matrix (h or g) that a kernel reads or writes.
struct RankColumns {
  const void* data;
  int64_t stride, columns;  // columns: see h_columns of peft4j_cuda.h
};

inline int64_t size_of(int dtype) {
  return dtype == 0 ? 4 : 2;
}

inline bool aligned(const void* p, int64_t stride_in_bytes, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(p) % bytes == 0 && stride_in_bytes % bytes == 0;
}

inline const void* offset(const void* p, int64_t bytes) {
  return static_cast<const char*>(p) + bytes;
}

// A piece of all ranks of a segment; out is for the kernels that have one.
inline Piece piece_of(const peft4j_cuda_segment& s) {
  Piece piece{};
  piece.factor = s.factor;
  piece.rank_stride = s.rank_stride;
  piece.column_stride = s.column_stride;
  piece.rank = s.rank;
  piece.column = piece.from = s.column;
  piece.to = s.column + s.rank;
  piece.scale = s.scale;
  return piece;
}

inline bool side_by_side(const Piece& a, const Piece& b, int64_t factor_size) {
  return a.out == nullptr && b.out == nullptr && a.scale == b.scale && a.rank_stride == b.rank_stride &&
         a.column_stride == b.column_stride && a.to == b.column &&
         offset(a.factor, a.rank * a.rank_stride * factor_size) == b.factor;
}

// make_piece(segment): its piece_of, with out where the kernel has one; rank 0 for a segment to leave out.
template <class MakePiece>
std::vector<Band> bands_of(const peft4j_cuda_lora& p, const RankColumns& ranks, const MakePiece& make_piece) {
  const int64_t factor_size = size_of(p.factor_dtype), size = size_of(p.dtype);
  std::vector<Band> bands;
  for (int64_t i = 0; i < p.n_segments; ++i) {
    const peft4j_cuda_segment& s = p.segments[i];
    if (s.begin == s.end) {
      continue;
    }
    const Band* before = bands.empty() ? nullptr : &bands.back();
    if (before == nullptr || before->begin != s.begin || before->end != s.end || before->threshold != s.threshold) {
      bands.push_back({s.begin, s.end, s.threshold, {}});
    }
    std::vector<Piece>& pieces = bands.back().pieces;
    const Piece piece = make_piece(s);
    if (piece.rank == 0) {
      continue;
    }
    if (!pieces.empty() && side_by_side(pieces.back(), piece, factor_size)) {
      pieces.back().rank += piece.rank;
      pieces.back().to = piece.to;
    } else {
      pieces.push_back(piece);
    }
  }
  for (Band& band : bands) {
    std::vector<Piece> whole = std::move(band.pieces);
    band.pieces.clear();
    if (ranks.columns > 0) {  // each writes the zeros before it, the last one also those behind it
      if (whole.empty()) {
        whole.emplace_back();
      }
      std::stable_sort(whole.begin(), whole.end(), [](const Piece& a, const Piece& b) { return a.column < b.column; });
      for (size_t i = 0; i < whole.size(); ++i) {
        whole[i].from = i == 0 ? 0 : whole[i - 1].to;
      }
      whole.back().to = static_cast<int32_t>(ranks.columns);
    }
    for (const Piece& all : whole) {
      for (int first = 0; first == 0 || first < all.rank; first += kRanks) {
        Piece piece = all;
        piece.rank = std::min(kRanks, all.rank - first);
        piece.column += first;
        piece.factor = offset(all.factor, first * all.rank_stride * factor_size);
        piece.out += first * static_cast<int64_t>(all.out_rank_stride);
        piece.from = first == 0 ? all.from : piece.column;
        piece.to = first + kRanks < all.rank ? piece.column + kRanks : all.to;
        piece.wide_factor = piece.column_stride == 1 && aligned(piece.factor, piece.rank_stride * factor_size, 16);
        piece.wide_ranks = aligned(offset(ranks.data, piece.column * size), ranks.stride * size, 4 * size);
        band.pieces.push_back(piece);
      }
    }
  }
  return bands;
}

// For kernels that have nothing to do in a band without ranks.
inline std::vector<Band> with_ranks(std::vector<Band> bands) {
  std::erase_if(bands, [](const Band& band) { return band.pieces.empty(); });
  return bands;
}

// f(table, pass) for every launch; the first status that is not 0 ends it. most: P above.
template <class F>
int for_groups(const std::vector<Band>& bands, int64_t rows_of_a_tile, int most, const F& f) {
  bool more = true;
  for (int pass = 0; more; ++pass) {
    more = false;
    Table table{};
    const auto launch = [&] {
      const int status = table.groups == 0 ? 0 : f(table, pass);
      table = Table{};
      return status;
    };
    for (const Band& band : bands) {
      const int all = static_cast<int>(band.pieces.size()), first = pass * most, n = std::min(most, all - first);
      more |= all > first + most;
      if (n <= 0 && pass > 0) {
        continue;
      }
      if (table.groups == kGroups || table.pieces + n > kGroups) {
        if (const int status = launch()) {
          return status;
        }
      }
      table.group[table.groups++] = {band.begin, band.end, table.tiles, table.pieces, n, band.threshold};
      table.tiles += static_cast<int32_t>(divide_up(band.end - band.begin, rows_of_a_tile));
      std::copy_n(band.pieces.begin() + first, n, table.piece + table.pieces);
      table.pieces += n;
    }
    if (const int status = launch()) {
      return status;
    }
  }
  return 0;
}

}  // namespace peft4j::cuda
