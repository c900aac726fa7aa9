#include "network/types.h"

#include <limits>
#include <optional>
#include <string>

#include "network/builder.h"

namespace prunus {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// -- zero points -----------------------------------------------------------------------------------------------------

class ZeroPoints {
 public:
  explicit ZeroPoints(const Definition &definition) : zero_(definition.tensors.size()) {
    for (const Node &node : definition.nodes) std::visit([&](const auto &op) { visit(node, op); }, node.op);
    for (const Node &node : definition.nodes) pass_on(node);
    for (auto node = definition.nodes.rbegin(); node != definition.nodes.rend(); ++node) pass_on(*node);
  }
  std::vector<std::int32_t> take() const {
    std::vector<std::int32_t> known;
    for (const auto &zero : zero_) known.push_back(zero.value_or(kActLow));
    return known;
  }

 private:
  void set(std::int32_t tensor, prunus_type type) { zero_[static_cast<std::size_t>(tensor)] = type.zero_point; }

  template <class Op>
  void visit(const Node &node, const Op &op) {
    constexpr bool kNamesNone = std::is_same_v<Op, MaxPool> || std::is_same_v<Op, Softmax>;
    if constexpr (requires { op.args.x; } && !kNamesNone) set(node.inputs[0], op.args.x);
    if constexpr (requires { op.epilogue; } && !std::is_same_v<Op, Quantize>) set(node.output, op.epilogue.type);
    if constexpr (std::is_same_v<Op, Binary>) set(node.inputs[0], op.args.a), set(node.inputs[1], op.args.b);
    if constexpr (std::is_same_v<Op, Requantize> || std::is_same_v<Op, Dequantize>) set(node.inputs[0], op.x);
    if constexpr (std::is_same_v<Op, Softmax>) set(node.output, op.args.y);
    if constexpr (std::is_same_v<Op, Concat>)
      for (std::size_t i = 0; i < op.types.size(); ++i) set(node.inputs[i], op.types[i]);
  }

  // What movement of data keeps, forwards and backwards.
  void pass_on(const Node &node) {
    if (!std::holds_alternative<Reshape>(node.op) && !std::holds_alternative<Resize>(node.op) &&
        !std::holds_alternative<Slice>(node.op) && !std::holds_alternative<Transpose>(node.op) &&
        !std::holds_alternative<MaxPool>(node.op))
      return;
    auto &x = zero_[static_cast<std::size_t>(node.inputs[0])], &y = zero_[static_cast<std::size_t>(node.output)];
    if (!x) x = y;
    if (!y) y = x;
  }

  std::vector<std::optional<std::int32_t>> zero_;
};

// -- stored types ----------------------------------------------------------------------------------------------------

void store(prunus_type &type) {
  type.zero_point += shift_of(type.dtype);
  type.dtype = kActType;
}

void store(EpilogueData &epilogue) {
  const std::int32_t shift = shift_of(epilogue.type.dtype);
  epilogue.qmin += shift;
  epilogue.qmax += shift;
  store(epilogue.type);
}

// The entry of a table moves with the input's byte, its value with the output's.
std::vector<std::uint8_t> stored_table(const std::vector<std::uint8_t> &table, std::int32_t x, std::int32_t y) {
  std::vector<std::uint8_t> stored(table.size());
  const std::uint8_t index_flip = x == PRUNUS_S8 ? 0x80 : 0;  // of the table's own index
  for (std::size_t byte = 0; byte < table.size(); ++byte)
    stored[byte] = static_cast<std::uint8_t>(table[byte ^ flip_of(x) ^ index_flip] ^ flip_of(y));
  return stored;
}

void store_types(const Definition &definition, Node &node) {
  const auto element = [&](std::int32_t id) { return definition.tensors[static_cast<std::size_t>(id)].element; };
  std::visit(
      Overloaded{
          [](Conv &op) { store(op.args.x), store(op.epilogue); },
          [](Gemm &op) { store(op.args.x), store(op.epilogue); },
          [](Binary &op) { store(op.args.a), store(op.args.b), store(op.epilogue); },
          [](Concat &op) {
            for (prunus_type &type : op.types) store(type);
            store(op.epilogue);
          },
          [](Requantize &op) { store(op.x), store(op.epilogue); },
          [](MaxPool &op) { op.args.fill += shift_of(op.args.x.dtype), store(op.args.x); },
          [](AvgPool &op) { store(op.args.x), store(op.epilogue); },
          [&](Lut &op) { op.table = stored_table(op.table, element(node.inputs[0]), element(node.output)); },
          [](Softmax &op) {
            op.args.qmin += shift_of(op.args.y.dtype);
            op.args.qmax += shift_of(op.args.y.dtype);
            store(op.args.x), store(op.args.y);
          },
          [&](Slice &op) { op.args.fill += shift_of(element(node.output)); },
          [](Quantize &op) { store(op.epilogue); },
          [](Dequantize &op) { store(op.x); },
          [](auto &) {},  // moves bytes
      },
      node.op);
}

// -- batch -----------------------------------------------------------------------------------------------------------

class Batch {
 public:
  Batch(Definition &definition, std::int32_t batch) : definition_(definition), batch_(batch) {
    for (const Node &node : definition.nodes) check(node);
    for (prunus_tensor &tensor : definition.tensors) {
      require(elements(tensor) <= std::numeric_limits<std::int32_t>::max() / batch);
      replace(tensor.shape[0]);
    }
    for (Node &node : definition.nodes) std::visit([&](auto &op) { visit(op); }, node.op);
  }

 private:
  void require(bool condition) const {
    if (!condition)
      throw Failure(PRUNUS_E_OPTION, "the batch can only be replaced where dimension 0 of every tensor is the batch, and 1");
  }
  void replace(std::int32_t &dimension) const {
    require(dimension == 1);
    dimension = batch_;
  }

  // That dimension 0 is never computed on.
  void check(const Node &node) const {
    const prunus_tensor &y = tensor(node.output);
    if (std::holds_alternative<Gemm>(node.op)) require(y.rank > 1);
    if (std::holds_alternative<Binary>(node.op))
      for (std::int32_t x : node.inputs) require(tensor(x).rank == y.rank);
    if (const auto *softmax = std::get_if<Softmax>(&node.op)) require(softmax->args.length < elements(y) || y.rank > 1);
    if (const auto *concat = std::get_if<Concat>(&node.op)) require(concat->axis != 0);
    if (const auto *slice = std::get_if<Slice>(&node.op)) require(slice->args.start[0] == 0 && slice->args.step[0] == 1);
    if (const auto *transpose = std::get_if<Transpose>(&node.op)) require(transpose->args.perm[0] == 0);
  }
  const prunus_tensor &tensor(std::int32_t id) const { return definition_.tensors[static_cast<std::size_t>(id)]; }

  template <class Op>
  void visit(Op &op) const {
    if constexpr (requires { op.args.batch; }) replace(op.args.batch);
  }
  void visit(Gemm &op) const { op.args.rows *= batch_; }
  void visit(Binary &op) const { replace(op.args.a_shape[0]), replace(op.args.b_shape[0]); }
  void visit(Softmax &op) const { op.args.outer *= batch_; }
  void visit(Slice &op) const { replace(op.args.x_shape[0]), replace(op.args.y_shape[0]); }
  void visit(Transpose &op) const { replace(op.args.x_shape[0]); }

  const Definition &definition_;
  std::int32_t batch_;
};

}  // namespace

std::vector<std::int32_t> zero_points(const Definition &definition) { return ZeroPoints(definition).take(); }

Definition normalised(const Definition &definition, std::int32_t batch) {
  Definition stored = definition;
  if (batch != 0) Batch(stored, batch);
  for (Node &node : stored.nodes) store_types(definition, node);
  for (prunus_tensor &tensor : stored.tensors)
    if (tensor.element != PRUNUS_ELEMENT_F32) tensor.element = kActType;
  return stored;
}

}  // namespace prunus
