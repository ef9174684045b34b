// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool/call.hpp>

#include "support/catch.hpp"

#include <memory>
#include <string>
#include <vector>

using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::detail::Batch;
using plait::multiprocessing::detail::Call;
using plait::multiprocessing::detail::ItemSink;

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

Batch batch_of(const std::vector<std::string>& items) {
    Batch batch;
    for (const std::string& item : items) batch.add([&](Encoder& out) { out.write(item); });
    return batch;
}

std::vector<std::string> items_of(const Batch& batch) {
    std::vector<std::string> items;
    Decoder in(batch.arguments);
    for (std::size_t i = 0; i < batch.count; ++i) {
        Decoder item(in.read_bytes(in.read<std::uint64_t>()));
        items.push_back(item.read<std::string>());
    }
    CHECK(in.remaining() == 0);
    return items;
}

}  // namespace

TEST_CASE("a slice of a batch has the items, the numbers and the bytes of its part") {
    Batch batch = batch_of({"a", "bb", "", "dddd", "e"});
    batch.first_task = 100;
    batch.first_item = 10;
    const Batch middle = batch.slice(1, 4);
    CHECK(items_of(middle) == std::vector<std::string>{"bb", "", "dddd"});
    CHECK(middle.first_task == 101);
    CHECK(middle.first_item == 11);
    CHECK(middle.ends.back() == middle.arguments.size());
    CHECK(items_of(batch.slice(0, 5)) == items_of(batch));
    CHECK(items_of(batch.slice(2, 2)).empty());
}

TEST_CASE("a batch is split behind those of its items that are left") {
    Batch batch = batch_of({"a", "bb", "ccc", "dddd", "e"});
    batch.next = 2;
    const Batch rest = batch.split_after(1);
    CHECK(batch.count == 3);
    CHECK(batch.left() == 1);
    CHECK(items_of(batch) == std::vector<std::string>{"a", "bb", "ccc"});
    CHECK(items_of(rest) == std::vector<std::string>{"dddd", "e"});
    CHECK(rest.task() == 3);
}

TEST_CASE("a call that is lost after it was taken is told so, and keeps its sink till then") {
    CountingSink sink;
    {
        const auto call =
            std::make_shared<Call>(sink, plait::multiprocessing::detail::CallableName{}, "f", plait::Timeout::never());
        CHECK(sink.owners == 1);
    }
    CHECK(sink.owners == 0);
    CHECK(sink.abandoned == 0);
    {
        const auto call =
            std::make_shared<Call>(sink, plait::multiprocessing::detail::CallableName{}, "f", plait::Timeout::never());
        call->submitted = true;
    }
    CHECK(sink.abandoned == 1);
    CHECK(sink.owners == 0);
}
