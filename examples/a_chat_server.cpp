// SPDX-License-Identifier: MIT
//
// How do many clients of a server reach each other? What their tasks share needs no lock: they take turns on one thread.
//
// Python:
//
//     guests = {}
//
//     async def chat(reader, writer):
//         name = (await reader.readline()).decode().strip()
//         guests[name] = writer
//         tell_all(f"* {name} has come")
//         while line := await reader.readline():
//             tell_all(f"{name}: {line.decode().strip()}")
//         del guests[name]
//         tell_all(f"* {name} has gone")

#include <plait/plait.hpp>

#include <iostream>
#include <map>
#include <string>
#include <utility>

namespace aio = plait::asyncio;

class Chat {
public:
    aio::Coroutine<void> serve(aio::StreamReader reader, aio::StreamWriter writer) {
        std::string name = co_await reader.readline();
        if (name.empty()) co_return;
        name.pop_back();
        guests_.insert_or_assign(name, writer);
        tell_all("* " + name + " has come\n");
        for (;;) {
            std::string line = co_await reader.readline();
            if (line.empty()) break;
            tell_all(name + ": " + line);
        }
        guests_.erase(name);
        tell_all("* " + name + " has gone\n");
    }

private:
    /// Waits for nobody: what a guest does not read is kept for him.
    void tell_all(const std::string& line) {
        for (auto& [name, writer] : guests_) writer.write(line);
    }

    std::map<std::string, aio::StreamWriter> guests_;
};

using Guest = std::pair<aio::StreamReader, aio::StreamWriter>;

aio::Coroutine<void> hear(Guest& guest, const char* name) {
    std::string line = co_await guest.first.readline();
    std::cout << name << " hears   " << line;
}

aio::Coroutine<Guest> come(int port, const char* name) {
    Guest guest = co_await aio::open_connection("127.0.0.1", port);
    guest.second.write(std::string(name) + '\n');
    co_await hear(guest, name);
    co_return guest;
}

aio::Coroutine<void> party() {
    Chat chat;
    aio::Server server = co_await aio::start_server(
        [&chat](aio::StreamReader reader, aio::StreamWriter writer) { return chat.serve(reader, writer); }, "127.0.0.1",
        0);

    Guest alice = co_await come(server.port(), "Alice");
    Guest bob = co_await come(server.port(), "Bob");
    co_await hear(alice, "Alice");
    alice.second.write("hello Bob\n");
    co_await hear(bob, "Bob");
    bob.second.write("hello, and goodbye\n");
    bob.second.close();
    for (int i = 0; i < 3; ++i) co_await hear(alice, "Alice");
}

int main() { aio::run(party()); }
