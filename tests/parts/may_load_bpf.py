"""Asks the kernel to verify a BPF program of two instructions; ends with 1 and the reason when it
refuses. The program is closed again at once and attached to nothing."""

import ctypes
import os
import struct
import sys

BPF_SYSCALL_X86_64 = 321
BPF_PROG_LOAD = 5
BPF_PROG_TYPE_SOCKET_FILTER = 1

RETURN_ZERO = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def main() -> int:
    instructions = ctypes.create_string_buffer(RETURN_ZERO, len(RETURN_ZERO))
    license_text = ctypes.create_string_buffer(b"GPL")
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "<IIQQ",
            BPF_PROG_TYPE_SOCKET_FILTER,
            len(RETURN_ZERO) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(license_text),
        ),
        128,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    program = libc.syscall(BPF_SYSCALL_X86_64, BPF_PROG_LOAD, attributes, 128)
    if program < 0:
        print(os.strerror(ctypes.get_errno()))
        return 1
    os.close(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
