"""Client and server of the live test: small TCP programs that write down what they did.

A request is `<payload bytes>\n` and that many bytes; the response has the same form. The server
echoes the payload. Every line on standard output is one JSON object of truth.
"""

import json
import os
import socket
import sys
import threading
import time


TELLING = threading.Lock()


def tell(**fact):
    with TELLING:
        print(json.dumps(fact), flush=True)


def read_message(stream):
    head = stream.readline()
    return stream.read(int(head)) if head else None


def serve_connection(connection, how):
    stream = connection.makefile("rb", buffering=0 if how == "unbuffered" else -1)
    requests = 0
    while True:
        payload = read_message(stream)
        if payload is None:
            connection.close()
            return
        reader = threading.get_native_id()
        requests += 1
        if payload == b"die":
            os._exit(0)
        if payload == b"hang":
            time.sleep(3600)

        def respond():
            tell(event="served", peer=connection.getpeername()[1], number=requests,
                 process=os.getpid(), reader=reader, writer=threading.get_native_id())
            connection.sendall(b"%d\n" % len(payload))
            connection.sendall(payload)

        if how == "handover":
            worker = threading.Thread(target=respond)
            worker.start()
            worker.join()
        else:
            respond()


def serve(ip, port, how):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    listener = socket.create_server((ip, port), family=family, backlog=64,
                                    dualstack_ipv6=family == socket.AF_INET6)
    tell(event="listening", port=port)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve_connection, args=(connection, how), daemon=True).start()


def send(connection, payload, how):
    if how == "split":
        connection.sendall(b"%d\n" % len(payload))
        connection.sendall(payload)
    else:
        connection.sendall(b"%d\n%s" % (len(payload), payload))


def converse(ip, port, how):
    """Commands on standard input: `<count> <payload bytes>`, `say <payload>`, or `close`."""
    connection = socket.create_connection((ip, port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    tell(event="connected", port=connection.getsockname()[1], process=os.getpid())
    for line in sys.stdin:
        words = line.split()
        if words[0] == "close":
            break
        count, payload = 1, words[1].encode()
        if words[0] != "say":
            count, payload = int(words[0]), b"x" * int(words[1])
        answered = 0
        for _ in range(count):
            writer = threading.Thread(target=send, args=(connection, payload, how))
            writer.start()
            # With a reader of its own the response may be read before the writer has returned.
            if how != "duplex":
                writer.join()
            try:
                answered += read_message(stream) == payload
            except OSError:
                pass
            writer.join()
        tell(event="answered", count=answered)
    connection.close()
    tell(event="closed")


if __name__ == "__main__":
    {"serve": serve, "converse": converse}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), sys.argv[4])
