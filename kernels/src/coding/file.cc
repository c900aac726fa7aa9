#include "coding/file.h"

#include <algorithm>
#include <exception>
#include <vector>

#include "coding/crc32.h"
#include "coding/tensor.h"
#include "prunus/coding.h"

namespace prunus::coding {

std::uint32_t file_checksum(const std::uint8_t *file, std::size_t bytes) {
  constexpr std::size_t at = offsetof(Header, checksum), behind = at + sizeof(Header::checksum);
  return crc32(crc32(0, file, at), file + behind, bytes - behind);
}

namespace {

struct File {
  Header header;
  std::vector<Section> sections;
  Reader bodies;
};

// No decompressor was given for a file that needs one.
struct NoDecompressor {};

Header read_header(const std::uint8_t *file, std::size_t bytes) {
  Header header{};
  require(file && bytes >= sizeof kMagic && std::equal(kMagic, kMagic + sizeof kMagic, file),
          "It does not begin as a packed model does.");
  require(bytes >= sizeof header, "It is cut short within the header.");
  std::memcpy(&header, file, sizeof header);
  require(header.version == kVersion, "It has another version.");
  require(header.bytes == bytes, "It has another size than its header says.");
  require(header.checksum == file_checksum(file, bytes), "Its checksum does not fit.");
  require(std::all_of(std::begin(header.zeros), std::end(header.zeros), [](auto byte) { return byte == 0; }),
          "Spare bytes of the header are not zero.");
  require(header.sections >= 1 && header.sections <= (bytes - sizeof header) / sizeof(Section),
          "It names more sections than it has room for.");
  return header;
}

// Sums stay within the sizes that are known, so that they cannot overflow.
void check_sections(const std::vector<Section> &sections, std::uint64_t stored, std::uint64_t model_bytes) {
  std::uint64_t behind = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const Section &section = sections[i];
    require(section.method <= kSparseHuffman && section.zero == 0,
            "A section is stored in a way that this version does not know.");
    require(section.stored <= stored, "The sections and the file have different sizes.");
    require(section.bytes / kMaxExpansion + (section.bytes % kMaxExpansion != 0) <= section.stored,
            "A section claims more bytes than its form can hold.");
    require(section.bytes <= model_bytes, "The sections and the model have different sizes.");
    stored -= section.stored, model_bytes -= section.bytes;
    require(section.start >= behind && (i > 0 || section.start == 0), "A section lies over another.");
    if (i > 0) {
      require(section.start <= UINT64_MAX - section.bytes, "A section lies outside of the model.");
      behind = section.start + section.bytes;
    }
  }
  require(stored == 0, "The sections and the file have different sizes.");
  require(model_bytes == 0, "The sections and the model have different sizes.");
}

File read_file(const std::uint8_t *file, std::size_t bytes) {
  File found{read_header(file, bytes), {}, {file + sizeof(Header), file + bytes}};
  found.sections.resize(found.header.sections);
  const std::size_t table = found.sections.size() * sizeof(Section);
  std::memcpy(found.sections.data(), found.bodies.take(table, ""), table);
  check_sections(found.sections, found.bodies.left(), found.header.model_bytes);
  const Section &last = found.sections.back();
  require(found.sections.size() == 1 || last.start + last.bytes <= found.header.model_bytes,
          "A section lies outside of the model.");
  return found;
}

struct Decompressor {
  prunus_decompress call;
  void *context;
};

void read_section(const Section &section, Reader body, Decompressor zstd, std::uint8_t *out) {
  if (section.method == kStored) {
    require(section.stored == section.bytes, "A section is stored with another size than it has.");
    std::copy(body.at, body.end, out);
  } else if (section.method == kZstd) {
    if (!zstd.call) throw NoDecompressor{};
    require(zstd.call(zstd.context, out, section.bytes, body.at, body.left()) == section.bytes,
            "A section cannot be decompressed.");
  } else {
    read_tensor(body, section.method == kSparseHuffman, section.bits, out, section.bytes);
  }
  require(crc32(0, out, section.bytes) == section.checksum,
          "The checksum of a section does not fit what it decodes to.");
}

void unpack(const File &file, Decompressor zstd, std::uint8_t *model) {
  std::vector<std::uint8_t> graph(file.sections[0].bytes);
  Reader bodies = file.bodies;
  for (std::size_t i = 0; i < file.sections.size(); ++i) {
    const Section &section = file.sections[i];
    const std::uint8_t *body = bodies.take(section.stored, "");
    read_section(section, {body, body + section.stored}, zstd, i == 0 ? graph.data() : model + section.start);
  }
  std::uint64_t at = 0, taken = 0;
  auto fill = [&](std::uint64_t until) {  // with the graph, up to the next tensor
    std::copy_n(graph.data() + taken, until - at, model + at);
    taken += until - at;
  };
  for (std::size_t i = 1; i < file.sections.size(); ++i) {
    fill(file.sections[i].start);
    at = file.sections[i].start + file.sections[i].bytes;
  }
  fill(file.header.model_bytes);
  require(crc32(0, model, file.header.model_bytes) == file.header.model_checksum,
          "The checksum of the whole model does not fit.");
}

// Runs what may throw; the reason of a failure is static text.
template <class Call>
prunus_status guarded(const char **why, Call &&call) {
  const char *reason = "";
  prunus_status status = PRUNUS_OK;
  try {
    call();
  } catch (const Refused &refused) {
    status = static_cast<prunus_status>(PRUNUS_E_FILE);
    reason = refused.why;
  } catch (const NoDecompressor &) {
    status = static_cast<prunus_status>(PRUNUS_E_OPTION);
    reason = "The file has zstd sections, and no decompressor was given.";
  } catch (const std::exception &) {
    status = static_cast<prunus_status>(PRUNUS_E_MEMORY);
    reason = "There is not enough memory.";
  }
  if (why) *why = reason;
  return status;
}

}  // namespace
}  // namespace prunus::coding

using namespace prunus::coding;

prunus_status prunus_model_bytes(const void *packed, std::size_t packed_bytes, std::uint64_t *model_bytes,
                                 const char **why) {
  if (!model_bytes) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(why, [&] {
    *model_bytes = read_file(static_cast<const std::uint8_t *>(packed), packed_bytes).header.model_bytes;
  });
}

prunus_status prunus_model_unpack(const void *packed, std::size_t packed_bytes, prunus_decompress zstd, void *context,
                                  void *model, std::size_t model_bytes, const char **why) {
  if (!model) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(why, [&] {
    const File file = read_file(static_cast<const std::uint8_t *>(packed), packed_bytes);
    require(file.header.model_bytes == model_bytes, "The model has another size than the caller's buffer.");
    unpack(file, {zstd, context}, static_cast<std::uint8_t *>(model));
  });
}
