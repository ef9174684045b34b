// expect: plait: this exception cannot be made again in another process: specialise plait::multiprocessing::Codec for it
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/register_exception.hpp>

#include <stdexcept>

// Made of its text alone it would come without its line.
struct ParseError : std::runtime_error {
    using std::runtime_error::runtime_error;
#if !defined(NO_MISTAKE)
    int line = 0;
#endif
};

void prepare() { plait::multiprocessing::register_exception<ParseError>(); }
