// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/call.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

using plait::CodecError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::detail::Batch;
using plait::multiprocessing::detail::Call;
using plait::multiprocessing::detail::CallableName;
using plait::multiprocessing::detail::ItemSink;
using plait::multiprocessing::detail::read_item;

namespace {

struct CountingSink final : ItemSink {
    bool begin() noexcept override { return true; }
    void succeed(std::size_t, Decoder&) noexcept override {}
    void fail(std::size_t, std::exception_ptr) noexcept override {}
    void abandon() noexcept override { ++abandoned; }
    void retain() noexcept override { ++owners; }
    void release() noexcept override { --owners; }

    int owners = 0;
    int abandoned = 0;
};

std::shared_ptr<Call> call_of(CountingSink& sink, const std::vector<std::string>& items) {
    auto call = std::make_shared<Call>(sink, CallableName{}, "f", plait::Timeout::never());
    Encoder scratch;
    for (const std::string& item : items) call->add(scratch, [&](Encoder& out) { out.write(item); });
    call->first_task = 100;
    return call;
}

std::vector<std::string> items_of(const Batch& batch) {
    std::vector<std::string> items;
    Decoder in(batch.bytes());
    for (std::size_t i = 0; i < batch.size(); ++i) items.push_back(Decoder(read_item(in)).read<std::string>());
    CHECK(in.remaining() == 0);
    return items;
}

}  // namespace

TEST_CASE("what is taken of a batch has the items, the numbers and the bytes of its part") {
    CountingSink sink;
    Batch batch = Batch::of(call_of(sink, {"a", "bb", "", "dddd", "e"}));
    CHECK(batch.left() == 5);
    const Batch first = batch.take(1);
    const Batch middle = batch.take(3);
    CHECK(items_of(first) == std::vector<std::string>{"a"});
    CHECK(items_of(middle) == std::vector<std::string>{"bb", "", "dddd"});
    CHECK(middle.task() == 101);
    CHECK(items_of(batch) == std::vector<std::string>{"e"});
    CHECK(batch.task() == 104);
    CHECK(batch.take(1).left() == 1);
    CHECK(batch.left() == 0);
}

TEST_CASE("a batch is trimmed of those of its items that are done") {
    CountingSink sink;
    Batch batch = Batch::of(call_of(sink, {"a", "bb", "ccc"}));
    batch.next = 2;
    CHECK(batch.task() == 102);
    CHECK(batch.first_task() == 100);
    batch.trim();
    CHECK(batch.first_task() == 102);
    CHECK(items_of(batch) == std::vector<std::string>{"ccc"});
}

TEST_CASE("an item's size has four bytes, or twelve where it is larger than these can say") {
    Encoder out;
    plait::multiprocessing::detail::write_item_size(out, 3);
    out.write_bytes(std::as_bytes(std::span{"abc", 3}));
    CHECK(out.size() == 7);
    Decoder in(out.bytes());
    CHECK(read_item(in).size() == 3);
    CHECK(in.remaining() == 0);

    Encoder large;
    plait::multiprocessing::detail::write_item_size(large, std::size_t{1} << 32);
    CHECK(large.size() == 12);
    Decoder truncated(large.bytes());
    CHECK_THROWS_AS(read_item(truncated), CodecError);
}

TEST_CASE("a call that is lost after it was taken is told so, and keeps its sink till then") {
    CountingSink sink;
    {
        const auto call = call_of(sink, {});
        CHECK(sink.owners == 1);
    }
    CHECK(sink.owners == 0);
    CHECK(sink.abandoned == 0);
    {
        const auto call = call_of(sink, {});
        call->submitted = true;
    }
    CHECK(sink.abandoned == 1);
    CHECK(sink.owners == 0);
}
