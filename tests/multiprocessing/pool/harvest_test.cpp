// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/harvest.hpp>

#include "support/catch.hpp"

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::detail::Call;
using plait::multiprocessing::detail::CallableName;
using plait::multiprocessing::detail::Harvest;
using plait::multiprocessing::detail::ItemSink;
using plait::multiprocessing::detail::Reply;

namespace {

/// Writes down what it is told of each item.
struct Listener final : ItemSink {
    bool begin() noexcept override { return true; }
    void succeed(std::size_t item, Decoder& result) noexcept override { told[item] += result.read<std::string>(); }
    void fail(std::size_t item, std::exception_ptr exception) noexcept override {
        try {
            std::rethrow_exception(exception);
        } catch (const std::exception& error) {
            told[item] += std::string("error ") + error.what();
        }
    }
    void abandon() noexcept override {}
    void retain() noexcept override { ++owners; }
    void release() noexcept override { --owners; }

    std::map<std::size_t, std::string> told;
    int owners = 0;
};

std::shared_ptr<Call> call_for(Listener& listener) {
    return std::make_shared<Call>(listener, CallableName{}, "f", plait::Timeout::never());
}

void append(std::vector<std::byte>& bytes, Reply::Kind kind, const Encoder& payload) {
    const std::uint64_t word = Reply{kind, 0, payload.size()}.packed();
    const auto head = plait::multiprocessing::detail::bytes_of(word);
    bytes.insert(bytes.end(), head.begin(), head.end());
    bytes.insert(bytes.end(), payload.bytes().begin(), payload.bytes().end());
}
void append(std::vector<std::byte>& bytes, const std::string& value) {
    Encoder payload;
    payload.write(value);
    append(bytes, Reply::Kind::value, payload);
}

}  // namespace

TEST_CASE("a harvest tells each item of its reply, small and large, and leaves what is not whole") {
    for (const std::size_t size : {std::size_t{3}, std::size_t{100'000}}) {
        Listener listener;
        const auto call = call_for(listener);
        Harvest harvest;
        CHECK(harvest.empty());
        for (std::size_t round = 0; round < 3; ++round) {
            std::vector<std::byte> bytes;
            append(bytes, std::string(size, 'a'));
            append(bytes, "b");
            const std::size_t end = bytes.size();
            append(bytes, "of the next");
            const auto rest = std::vector<std::byte>(bytes.begin() + static_cast<std::ptrdiff_t>(end), bytes.end());
            harvest.add_replies(call, 10 * round, 2, 0, end);
            harvest.keep(bytes, end);
            CHECK(bytes == rest);
        }
        CHECK_FALSE(harvest.empty());
        CHECK(harvest.size() > 3 * size);
        CHECK(listener.told.empty());
        harvest.settle();
        CHECK(listener.told.size() == 6);
        CHECK(listener.told[20] == std::string(size, 'a'));
        CHECK(listener.told[21] == "b");
        CHECK(harvest.empty());
    }
}

TEST_CASE("a harvest keeps two runs of one buffer apart") {
    Listener first;
    Listener second;
    Harvest harvest;
    std::vector<std::byte> bytes;
    append(bytes, "x");
    const std::size_t middle = bytes.size();
    append(bytes, "y");
    harvest.add_replies(call_for(first), 4, 1, 0, middle);
    harvest.add_replies(call_for(second), 0, 1, middle, bytes.size());
    harvest.keep(bytes, bytes.size());
    harvest.settle();
    CHECK(first.told == std::map<std::size_t, std::string>{{4, "x"}});
    CHECK(second.told == std::map<std::size_t, std::string>{{0, "y"}});
}

TEST_CASE("a harvest tells of exceptions, of those that cannot be read, and of failures") {
    Listener listener;
    Harvest harvest;
    std::vector<std::byte> bytes;
    Encoder exception;
    plait::multiprocessing::detail::write_exception(exception, std::make_exception_ptr(std::runtime_error("remote")));
    append(bytes, Reply::Kind::exception, exception);
    append(bytes, Reply::Kind::exception, Encoder());
    harvest.add_replies(call_for(listener), 0, 2, 0, bytes.size());
    harvest.keep(bytes, bytes.size());
    harvest.add_failure(call_for(listener), 5, 7, std::make_exception_ptr(std::runtime_error("died")));
    harvest.add_failure(call_for(listener), 9, 9, nullptr);
    harvest.settle();
    CHECK(listener.told[0] == "error remote");
    CHECK(listener.told[1].starts_with("error cannot decode"));
    CHECK(listener.told[5] == "error died");
    CHECK(listener.told[6] == "error died");
    CHECK(listener.told.size() == 4);
}

TEST_CASE("a harvest keeps a call that nobody wants until it is told") {
    Listener listener;
    Harvest harvest;
    harvest.drop(call_for(listener));
    CHECK(listener.owners == 1);
    CHECK_FALSE(harvest.empty());
    harvest.settle();
    CHECK(listener.owners == 0);
}
