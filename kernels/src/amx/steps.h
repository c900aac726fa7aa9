// How the kernels of this folder store weights: in steps of 16 quads, what one tile of activations holds.
//
// Packed::offset has 16 entries a step, Packed::begin counts them. Packed::extra has one entry a step: the bytes
// between its quads where they are equally spaced and can be loaded as they lie in the planes, 0 where they must be
// gathered.
// Packed::value has rows / 16 tiles of 16 output channels x 64 bytes a step.
//
// Where the quads of a group are no multiple of 16, its last step takes quads of the step before once more, with zeros
// for weights, and where there are fewer than 16, the last one again and again.
#pragma once

#include <cstdint>

namespace prunus::amx {

inline constexpr std::int32_t kStepQuads = 16;
inline constexpr std::int32_t kTileChannels = 16;

}  // namespace prunus::amx
