// SPDX-License-Identifier: MIT
#include <plait/os/image.hpp>

#include "support/catch.hpp"
#include "support/library.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

using plait::os::executable_image;
using plait::os::identity_of_file;
using plait::os::Image;
using plait::os::image_at;
using plait::os::ImageIdentity;
using plait::os::loaded_image;

namespace {

int function() { return 1; }
const int constant = 5;
int variable = 5;

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// A note as a linker writes it, its last padding left out on demand.
std::vector<std::byte> note_of(std::uint32_t type, const std::string& name, const std::string& text,
                               bool padded = true) {
    const std::uint32_t head[] = {static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(text.size()),
                                  type};
    std::vector<std::byte> bytes(sizeof head);
    std::memcpy(bytes.data(), head, sizeof head);
    const auto append = [&](const std::string& part) {
        const auto* const data = reinterpret_cast<const std::byte*>(part.data());
        bytes.insert(bytes.end(), data, data + part.size());
    };
    append(name);
    while (bytes.size() % 4 != 0) bytes.push_back({});
    append(text);
    while (padded && bytes.size() % 4 != 0) bytes.push_back({});
    return bytes;
}

const std::string gnu("GNU\0", 4);

/// In memory of exactly that size, so that AddressSanitizer sees what is read behind it.
std::optional<std::string> build_id_in(const std::vector<std::byte>& notes, std::size_t alignment = 4) {
    const std::vector<std::byte> exact(notes.begin(), notes.end());
    ImageIdentity identity{};
    if (!plait::os::detail::find_build_id(exact, alignment, identity)) return std::nullopt;
    const auto* const text = reinterpret_cast<const char*>(identity.data());
    return std::string(text, std::find(text, text + identity.size(), '\0'));
}

std::vector<std::byte> operator+(std::vector<std::byte> left, const std::vector<std::byte>& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

}  // namespace

TEST_CASE("the executable's image holds its functions and its data, and nothing else") {
    const auto& image = executable_image();
    const auto code = reinterpret_cast<std::uintptr_t>(&function);
    CHECK(image.contains(code, 1));
    CHECK(image.contains_code(code));
    CHECK(image.contains(address_of(&constant), sizeof constant));
    CHECK_FALSE(image.contains_code(address_of(&variable)));
    CHECK(image.contains(address_of(&variable), sizeof variable));
    const auto on_heap = std::make_unique<int>(1);
    const int on_stack = 1;
    CHECK_FALSE(image.contains(address_of(on_heap.get()), 1));
    CHECK_FALSE(image.contains(address_of(&on_stack), 1));
    CHECK(image.base() <= code);
    CHECK(image.path().empty());
}

TEST_CASE("no range that ends outside of the image is in it") {
    const auto& image = executable_image();
    const auto inside = address_of(&constant);
    CHECK_FALSE(image.contains(inside, std::size_t{1} << 40));
    CHECK_FALSE(image.contains(inside, ~std::size_t{0}));
    CHECK_FALSE(image.contains(0, 1));
    CHECK_FALSE(image.contains(~std::uintptr_t{0}, 1));
    CHECK_FALSE(image.contains(~std::uintptr_t{0} - 7, 8));
    CHECK_FALSE(image.contains_code(~std::uintptr_t{0}));
}

TEST_CASE("an image has an identity that is not zero, and that of the file it was loaded from") {
    const auto& identity = executable_image().identity();
    CHECK(std::any_of(identity.begin(), identity.end(), [](std::byte byte) { return byte != std::byte{}; }));
    CHECK(identity_of_file(std::filesystem::read_symlink("/proc/self/exe")) == identity);
}

TEST_CASE("an address is found in the image that holds it") {
    CHECK(image_at(reinterpret_cast<std::uintptr_t>(&function)) == &executable_image());
    CHECK(image_at(address_of(&variable)) == &executable_image());
    const auto on_heap = std::make_unique<int>(1);
    CHECK(image_at(address_of(on_heap.get())) == nullptr);
    void* const made = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(image_at(address_of(made)) == nullptr);
    ::munmap(made, 4096);
    CHECK(image_at(0) == nullptr);
    CHECK(image_at(~std::uintptr_t{0}) == nullptr);
}

TEST_CASE("a library has a path and the identity of its file, by its build-id or by its content") {
    for (const std::string& path : {support::library_with_build_id, support::library_without_build_id}) {
        CAPTURE(path);
        const support::LoadedLibrary library(path);
        const Image* const image = image_at(library.constant());
        REQUIRE(image != nullptr);
        CHECK(image->path() == path);
        CHECK(image->contains_code(reinterpret_cast<std::uintptr_t>(library.function())));
        CHECK_FALSE(image->contains_code(library.constant()));
        CHECK(image->identity() != executable_image().identity());
        CHECK(identity_of_file(path) == image->identity());
        CHECK(loaded_image(image->identity()) == image);
        CHECK(image_at(library.constant()) == image);
    }
    CHECK(identity_of_file(support::library_with_build_id) != identity_of_file(support::library_without_build_id));
}

TEST_CASE("a library that was unloaded is not found, and found anew when it is back") {
    const auto identity = identity_of_file(support::library_with_build_id).value();
    CHECK(loaded_image(identity) == nullptr);
    for (int round = 0; round < 2; ++round) {
        {
            const support::LoadedLibrary library(support::library_with_build_id);
            const Image* const image = loaded_image(identity);
            REQUIRE(image != nullptr);
            CHECK(image->contains(library.constant(), 1));
        }
        CHECK(loaded_image(identity) == nullptr);
    }
}

TEST_CASE("a library opened by a relative path is told by its whole path") {
    const std::filesystem::path path = support::library_with_build_id;
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(path.parent_path());
    const support::LoadedLibrary library("./" + path.filename().string());
    CHECK(std::filesystem::equivalent(image_at(library.constant())->path(), path));
    CHECK(image_at(library.constant())->path().starts_with('/'));
    std::filesystem::current_path(before);
}

TEST_CASE("a library is opened once, and one that cannot be is told why") {
    CHECK_FALSE(plait::os::open_library("/nowhere/to/be/found.so").empty());
    CHECK_FALSE(plait::os::open_library("/etc/passwd").empty());
    const support::LibraryFile file(support::library_with_build_id);
    CHECK(plait::os::open_library(file.path()).empty());
    CHECK(loaded_image(identity_of_file(file.path()).value()) != nullptr);
}

TEST_CASE("what is no library of a name that holds everywhere has no identity") {
    for (const char* path : {"", "relative.so", "/", "/dev/null", "/dev/zero", "/etc/passwd", "/nowhere/to/be/found.so",
                             "/proc/self/exe", "/dev/fd/0"})
        CHECK_FALSE(identity_of_file(path));
    const support::LibraryFile file(support::library_with_build_id);
    const std::string pipe = file.path() + ".pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    CHECK_FALSE(identity_of_file(pipe));
}

TEST_CASE("a library's file that was cut or changed has another identity, or none") {
    const support::LibraryFile file(support::library_without_build_id);
    std::ifstream whole(file.path(), std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(whole), {}};
    const auto identity = identity_of_file(file.path());
    REQUIRE(identity);
    const auto write = [&](std::span<const char> bytes) {
        std::ofstream(file.path(), std::ios::binary | std::ios::trunc)
            .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    };
    for (std::size_t size = 0; size < 4096; size += 61) {
        write(std::span{content}.first(size));
        CHECK(identity_of_file(file.path()) != identity);
    }
    for (std::size_t at = 0; at < 1024; ++at) {
        // Beyond the headers, which hold more than identifies: only that nothing breaks.
        auto changed = content;
        changed[at] = static_cast<char>(~changed[at]);
        write(changed);
        static_cast<void>(identity_of_file(file.path()));
    }
    write(content);
    CHECK(identity_of_file(file.path()) == identity);
}

TEST_CASE("a build-id is found among other notes, and cut to what an identity holds") {
    const auto id = note_of(3, gnu, "0123456789abcdefghij");
    CHECK(build_id_in(id) == "0123456789abcdef");
    CHECK(build_id_in(note_of(1, gnu, "other") + note_of(3, "else", "no") + id) == "0123456789abcdef");
    CHECK(build_id_in(note_of(3, gnu, "short")) == "short");
    CHECK_FALSE(build_id_in(note_of(3, gnu, "")));
    CHECK_FALSE(build_id_in({}));
    // Eight bytes of alignment: the note of the processor's properties stands so.
    CHECK(build_id_in(note_of(5, gnu, "properties, 24 bytes....") + id, 8) == "0123456789abcdef");
}

TEST_CASE("notes that end early, or announce what is not there, are read to their end and no further") {
    CHECK(build_id_in(note_of(3, gnu, "seven b", false)) == "seven b");
    CHECK_FALSE(build_id_in(note_of(1, gnu, "seven b", false)));
    CHECK_FALSE(build_id_in(note_of(1, "name", "", false)));
    const auto notes = note_of(1, gnu, "other") + note_of(3, gnu, "0123456789abcdef");
    for (std::size_t size = 0; size < notes.size(); ++size)
        CHECK_FALSE(
            build_id_in(std::vector<std::byte>(notes.begin(), notes.begin() + static_cast<std::ptrdiff_t>(size))));
    for (const std::size_t field : {0U, 4U})
        for (const std::uint32_t size : {0xFFFFFFFFU, 0xFFFFFFFCU, 0x80000000U, 41U}) {
            auto wrong = notes;
            std::memcpy(wrong.data() + field, &size, sizeof size);
            CHECK_FALSE(build_id_in(wrong));
        }
}
