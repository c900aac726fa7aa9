#include "network/portable.h"

#include "network/builder.h"

namespace prunus {
namespace {

// One operator on arrays. Statuses were checked when it was defined.
class Call {
 public:
  Call(const Memory &memory, const Node &node, const Step &step)
      : memory_(memory), plan_(memory.plan), node_(node), step_(step), y_(memory.at(step.writes)) {}

  void operator()(const Conv &op) const {
    prunus_conv2d_args args = op.args;
    args.y = op.epilogue.view();
    (op.depthwise ? prunus_depthwise2d : prunus_conv2d)(&args, x(0), op.w.data(), op.bias.data(), y_);
  }
  void operator()(const Gemm &op) const {
    prunus_gemm_args args = op.args;
    args.y = op.epilogue.view();
    prunus_gemm(&args, x(0), op.w.data(), op.bias.data(), y_);
  }
  void operator()(const Binary &op) const {
    prunus_binary_args args = op.args;
    args.y = op.epilogue.view();
    (op.mul ? prunus_mul : prunus_add)(&args, x(0), x(1), y_);
  }
  void operator()(const Concat &op) const {
    const prunus_tensor &out = tensor(node_.output);
    std::int32_t outer = 1, inner = 1;
    for (std::int32_t d = 0; d < op.axis; ++d) outer *= out.shape[d];
    for (std::int32_t d = op.axis + 1; d < out.rank; ++d) inner *= out.shape[d];
    auto *y = static_cast<std::uint8_t *>(y_);
    for (std::size_t i = 0; i < op.types.size(); ++i) {
      prunus_requant_args args{};
      args.outer = outer;
      args.inner = inner * tensor(node_.inputs[i]).shape[op.axis];
      args.stride = inner * out.shape[op.axis];
      args.copy = op.copy[i];
      args.entry = static_cast<std::int32_t>(i);
      args.x = op.types[i];
      args.y = op.epilogue.view();
      prunus_requantize(&args, x(i), y);
      y += args.inner;
    }
  }
  void operator()(const Requantize &op) const {
    prunus_requant_args args{};
    args.outer = 1;
    args.inner = args.stride = static_cast<std::int32_t>(elements(tensor(node_.output)));
    args.x = op.x;
    args.y = op.epilogue.view();
    prunus_requantize(&args, x(0), y_);
  }
  void operator()(const MaxPool &op) const { prunus_maxpool2d(&op.args, x(0), y_); }
  void operator()(const AvgPool &op) const {
    const prunus_epilogue epilogue = op.epilogue.view();
    prunus_avgpool2d(&op.args, &epilogue, op.count_index.data(), x(0), y_);
  }
  void operator()(const Softmax &op) const { prunus_softmax(&op.args, op.table.data(), x(0), y_); }
  void operator()(const Slice &op) const { prunus_slice(&op.args, x(0), y_); }
  void operator()(const Transpose &op) const { prunus_transpose(&op.args, x(0), y_); }
  void operator()(const Resize &op) const {
    prunus_resize_nearest(&op.args, op.rows.data(), op.columns.data(), x(0), y_);
  }
  void operator()(const Quantize &op) const {
    const prunus_type &type = op.epilogue.type;
    plan_.vector.quantize(static_cast<const float *>(x(0)), op.scale, type.zero_point, op.epilogue.qmin,
                          op.epilogue.qmax, static_cast<Act *>(y_), count());
  }
  void operator()(const Dequantize &op) const {
    plan_.vector.dequantize(static_cast<const Act *>(x(0)), op.scale, op.x.zero_point, static_cast<float *>(y_),
                            count());
  }
  void operator()(const Lut &op) const {
    plan_.vector.lut(op.table.data(), static_cast<const Act *>(x(0)), static_cast<Act *>(y_), count());
  }
  void operator()(const Reshape &) const {}  // never a step

 private:
  const prunus_tensor &tensor(std::int32_t id) const { return plan_.definition.tensors[static_cast<std::size_t>(id)]; }
  std::size_t count() const { return static_cast<std::size_t>(elements(tensor(node_.output))); }

  const void *x(std::size_t i) const { return memory_.at(step_.reads[i]); }

  const Memory &memory_;
  const Plan &plan_;
  const Node &node_;
  const Step &step_;
  void *y_;
};

class PortableStep final : public Step {
 public:
  PortableStep(std::vector<std::int32_t> xs, std::int32_t y, const Node &node) : Step(std::move(xs), y), node_(node) {
    info.kernel = "portable";
  }

  void prepare(const Plan &, const Options &) override {}

  void run(const Memory &memory, std::int64_t, std::int64_t) const override {
    std::visit(Call(memory, node_, *this), node_.op);
  }

 private:
  const Node &node_;
};

}  // namespace

std::unique_ptr<Step> portable_step(std::vector<std::int32_t> xs, std::int32_t y, const Node &node) {
  return std::make_unique<PortableStep>(std::move(xs), y, node);
}

}  // namespace prunus
