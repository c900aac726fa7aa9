// Saving and loading through the C interface.
#include "network/file.h"

#include <cstring>

#include "network/network.h"

namespace prunus {

prunus_status load_network(const void *data, std::size_t bytes, prunus_network **network, std::string &why) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  *network = nullptr;
  try {
    *network = read_packed_file(static_cast<const std::uint8_t *>(data), bytes);
    return PRUNUS_OK;
  } catch (const Failure &failure) {
    why.assign(failure.what());
    return failure.status();
  } catch (const std::exception &) {
    why.assign("not enough memory");
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}

}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_save(const prunus_network *network, void *data, std::size_t *bytes) {
  if (!network || !bytes) return static_cast<prunus_status>(PRUNUS_E_STATE);
  try {
    const std::vector<std::uint8_t> file = packed_file(network->definition);
    if (data && *bytes < file.size()) return PRUNUS_E_SHAPE;
    *bytes = file.size();
    if (data) std::memcpy(data, file.data(), file.size());
    return PRUNUS_OK;
  } catch (const std::exception &) {
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}

prunus_status prunus_network_load(const void *data, std::size_t bytes, prunus_network **network) {
  std::string why;
  return load_network(data, bytes, network, why);
}
