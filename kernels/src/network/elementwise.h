// Operators that touch each byte once, in any layout that inputs and output share.
#pragma once

#include <memory>
#include <vector>

#include "network/plan.h"

namespace prunus {

std::unique_ptr<Step> binary_step(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op);
// One of a and b is an image, the other flat: one element per image and channel.
std::unique_ptr<Step> channelwise_step(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op,
                                       bool a_is_image);
std::unique_ptr<Step> requantize_step(std::int32_t x, std::int32_t y, const Requantize &op);
std::unique_ptr<Step> lut_step(std::int32_t x, std::int32_t y, const Lut &op);

// A scale change of kernel.h; `safe`: no product reaches 2^31, so that any tier may convert it.
struct RescaleArgs {
  Rescale args;
  bool safe;
};
RescaleArgs rescale_of(const EpilogueData &epilogue, std::int32_t entry, prunus_type a);

// Whether a centred zero becomes the zero point again: then a halo stays one under rescaling.
bool keeps_zero(const Rescale &rescale);

// Addition or multiplication of runs of bytes; y may be a.
class BinaryKernel {
 public:
  explicit BinaryKernel(const Binary &op);
  void run(const VectorKernels &kernels, const Act *a, const Act *b, Act *y, std::size_t count) const;
  bool keeps_zero() const { return prunus::keeps_zero(rescale_); }
  // The same with a and b exchanged: both operations commute, in float32, too.
  BinaryKernel swapped() const;

 private:
  bool mul_, safe_ = true;
  Rescale rescale_;
};

}  // namespace prunus
