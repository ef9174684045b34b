// SPDX-License-Identifier: MIT
#include <plait/threading/detail/segment_chain.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <memory>

using Chain = plait::threading::detail::SegmentChain<std::shared_ptr<int>>;

TEST_CASE("what is detached from a chain is destroyed later, and the chain begins anew") {
    Chain chain;
    Chain::PutEnd put;
    Chain::TakeEnd take;
    const auto item = std::make_shared<int>(7);
    for (const std::size_t count : {0U, 1U, 127U, 500U}) {
        for (const std::size_t taken : {0U, 1U, 400U}) {
            if (taken > count) continue;
            for (std::size_t i = 0; i < count; ++i) chain.emplace(put, item);
            for (std::size_t i = 0; i < taken; ++i) {
                REQUIRE(*chain.front(take) == 7);
                chain.pop(take);
            }
            const Chain::TakeEnd detached = chain.detach(put, take);
            REQUIRE(put.segment == nullptr);
            REQUIRE(take.segment == nullptr);
            REQUIRE(item.use_count() == static_cast<long>(1 + count - taken));
            Chain::discard(detached, count - taken);
            REQUIRE(item.use_count() == 1);
        }
    }
    chain.emplace(put, item);
    CHECK(chain.front(take) == item);
    chain.pop(take);
    Chain::discard(chain.detach(put, take), 0);
}
