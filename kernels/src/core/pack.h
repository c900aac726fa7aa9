// Packings that several instruction sets share.
//
// Compiled once, without an instruction set's flags: what std::vector leaves in an object file is shared by all callers
// of a program, and must run on machines that lack the instructions.
#pragma once

#include "core/kernel.h"

namespace prunus {

// The blocks of `rows` x 4 that have a nonzero, by groups of `rows` output channels; rows behind out_c are zeros.
// begin[groups + 1], offset[blocks], value[blocks][rows][4].
void pack_blocks(const Matrix &matrix, std::int32_t rows, Packed &packed);

// As pack_blocks, an even number of blocks per group: the last of an odd number is followed by zeros at its own offset.
void pack_block_pairs(const Matrix &matrix, std::int32_t rows, Packed &packed);

// As pack_blocks with every quad in the list, zeros and all: offset repeats Matrix::offset per group.
void pack_all(const Matrix &matrix, std::int32_t rows, Packed &packed);

// offset[taps] as given, value[quads][taps][4]; channels behind the last are zeros. `begin` stays empty.
void pack_taps(const DepthwiseMatrix &matrix, Packed &packed);

}  // namespace prunus
