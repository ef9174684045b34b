// SPDX-License-Identifier: MIT
#include "fuzz.hpp"

#include <plait/multiprocessing/process.hpp>

#include <cstring>
#include <span>
#include <vector>

// Bytes read as the job of a fresh start, and as the request to the fork server, by who is about to obey them: the main
// that they name is one of this program's, or they are refused.

namespace mp = plait::multiprocessing;
namespace detail = plait::multiprocessing::detail;
namespace os = plait::os;

namespace {

int run(detail::ChildContext&) { return 0; }

/// The bytes behind a header that is right, so that what follows it is looked at.
std::vector<std::byte> with_header(std::span<const std::byte> bytes, bool with_place) {
    const auto& main = detail::child_main<&run>;
    const auto place = mp::encode(detail::place_of(reinterpret_cast<std::uintptr_t>(&main), sizeof main, "a main"));
    const std::size_t place_size = with_place ? place.size() : support::choose(bytes, 64);
    const detail::JobHeader header{detail::JobHeader::magic_word, detail::JobHeader::this_layout,
                                   os::executable_image().identity(), place_size, support::choose(bytes, 255)};
    std::vector<std::byte> job(sizeof header);
    std::memcpy(job.data(), &header, sizeof header);
    if (with_place) job.insert(job.end(), place.begin(), place.end());
    job.insert(job.end(), bytes.begin(), bytes.end());
    return job;
}

void try_job(std::span<const std::byte> job) {
    static_cast<void>(support::accepts([&] {
        const detail::CheckedJob checked = detail::check_job(job);
        support::require(checked.entry == &detail::child_main<&run> ||
                         checked.entry->magic == detail::ChildMain::magic_word);
        support::require(checked.payload.size() <= job.size());
        if (!checked.payload.empty())
            support::require(checked.payload.data() >= job.data() &&
                             checked.payload.data() + checked.payload.size() <= job.data() + job.size());
    }));
}

int add(int a, const std::vector<int>& more) {
    unsigned sum = static_cast<unsigned>(a);
    for (const int each : more) sum += static_cast<unsigned>(each);
    return static_cast<int>(sum);
}

/// A call whose function is the program's, with arguments that are not.
void try_call(std::span<const std::byte> bytes) {
    const auto name = detail::name_callable<std::tuple<int, std::vector<int>>>(&add);
    mp::Decoder in(bytes);
    mp::Encoder result;
    if (support::accepts([&] { detail::call_by_name(name, in, result); }))
        support::require(result.size() == sizeof(int));
}

/// A name from elsewhere: it is of this program's functions, or refused.
void try_name(std::span<const std::byte> bytes) {
    static_cast<void>(support::accepts([&] {
        mp::Decoder in(bytes);
        const auto name = in.read<detail::CallableName>();
        static_cast<void>(detail::find_entry(name));
    }));
}

void try_request(std::span<const std::byte> bytes) {
    static_cast<void>(support::accepts([&] {
        mp::Decoder in(bytes);
        static_cast<void>(detail::StartRequest::decode(in));
    }));
}

}  // namespace

void fuzz(std::span<const std::byte> bytes) {
    switch (support::choose(bytes, 6)) {
        case 0:
            return try_job(bytes);
        case 1:
            return try_job(with_header(bytes, false));
        case 2:
            return try_job(with_header(bytes, true));
        case 3:
            return try_call(bytes);
        case 4:
            return try_name(bytes);
        default:
            return try_request(bytes);
    }
}
