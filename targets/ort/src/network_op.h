// The operator `prunus.Network`: a region of integer operators as one node.
//
// Inputs: the packed network (uint8, a constant), then the region's inputs; outputs: the region's outputs. Types and
// dimensions are those of the packed network, with any batch. Attribute `timed` (default 0): how many candidate kernels
// are timed per layer when the session is created; 0 leaves the choice to the limit model.
#pragma once

#include "ort_api.h"

namespace prunus::ort {

const OrtCustomOp *network_op();

}  // namespace prunus::ort
