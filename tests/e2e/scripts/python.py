"""http.server with threads, and clients, over loopback; sockets as Python's own library uses them."""
import array, concurrent.futures, http.server, os, select, socket, struct, threading, urllib.request

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

os.makedirs("/tmp/www"); os.chdir("/tmp/www")
with open("page", "w") as page:
    page.write("x" * 300_000)
server = http.server.ThreadingHTTPServer(("", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://localhost:{server.server_port}/page"
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    sizes = list(pool.map(lambda _: len(urllib.request.urlopen(url).read()), range(24)))
print("pages", len(sizes), set(sizes))
server.shutdown(); server.server_close()
try:
    urllib.request.urlopen(url)
except OSError as error:
    print("after", error)

# A datagram, by name; a time that is over.
a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
a.bind(("localhost", 0)); b.settimeout(0.02)
b.sendto(b"datagram", a.getsockname()); print(a.recvfrom(100)[0])
try:
    b.recv(1)
except TimeoutError as error:
    print("time", error)

# A socket of the network travels through a Unix socket and goes on.
listener = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
left, right = socket.socketpair()
socket.send_fds(left, [b"f"], [accepted.fileno()]); accepted.close()
_, fds, _, _ = socket.recv_fds(right, 1, 1)
travelled = socket.socket(fileno=fds[0]); travelled.sendall(b"travelled"); print(client.recv(100))

# poll tells of the other side's end; a linger of nothing resets.
poll = select.poll(); poll.register(client, select.POLLIN | select.POLLRDHUP)
travelled.shutdown(socket.SHUT_WR); print("poll", [hex(events) for _, events in poll.poll()])
travelled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); travelled.close()
print("error", client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

# Dual stack, names, interfaces.
dual = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
for host in ("127.0.0.1", "::1"):
    print(host, socket.create_connection((host, dual.getsockname()[1])).getpeername()[0], dual.accept()[1][0])
print(sorted({entry[4][0] for entry in socket.getaddrinfo("localhost", 80)}), socket.if_nameindex()[0])
print("large", end=" ")
client = socket.create_connection(listener.getsockname()); accepted, _ = listener.accept()
threading.Thread(target=lambda: (client.sendall(bytes(5_000_000)), client.close())).start()
total = 0
while chunk := accepted.recv(1 << 20, socket.MSG_WAITALL):
    total += len(chunk)
print(total)
