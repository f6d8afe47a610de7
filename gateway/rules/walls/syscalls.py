"""Numbers of the system calls that a rule worker goes without, for the two machines that are known.

(x86-64, aarch64); None where there is no such call.  From the kernel's arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h; syscalls(2) says what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping

Numbers = Mapping[str, tuple[int | None, int | None]]

PROCESSES: Numbers = {
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
}  # fmt: skip
"""What starts a program or another process."""
OTHERS: Numbers = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "kcmp": (312, 272), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "move_pages": (279, 239), "migrate_pages": (256, 238),
}  # fmt: skip
"""What reaches into other processes."""
SOCKETS: Numbers = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendmsg": (46, 211), "sendmmsg": (307, 269), "recvmsg": (47, 212),
    "recvmmsg": (299, 243), "setsockopt": (54, 208),
}  # fmt: skip
"""What makes sockets, or hands descriptors over them; a socket that is there can be used."""
KERNEL: Numbers = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "inotify_init": (253, None), "inotify_init1": (294, 26), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "modify_ldt": (154, None),
    "iopl": (172, None), "ioperm": (173, None), "personality": (135, 92), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "memfd_secret": (447, 447), "memfd_create": (319, 279), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189), "semget": (64, 190),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "vhangup": (153, 58), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
"""What no rule has any business with: modules, tracing, keys, shared memory outside every limit."""
SELF: Numbers = {
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152),
    "setgroups": (116, 159), "capset": (126, 91), "setrlimit": (160, 164), "seccomp": (317, 277),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "set_mempolicy": (238, 237), "mbind": (237, 235), "setsid": (112, 157), "setpgid": (109, 154), "chdir": (80, 49),
    "fchdir": (81, 50), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "timer_create": (222, 107),
}  # fmt: skip
"""What changes what the process itself may do, or its place in the machine."""
WRITES: Numbers = {
    "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "unlink": (87, None), "unlinkat": (263, 35), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "copy_file_range": (326, 285), "sendfile": (40, 71),
    "fchmodat2": (452, 452),
}  # fmt: skip
"""What changes files without opening them for writing."""
JUDGED: Numbers = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "prctl": (157, 167), "open": (2, None),
    "openat": (257, 56), "clone": (56, 220), "prlimit64": (302, 261), "ioctl": (16, 29), "fcntl": (72, 25),
}  # fmt: skip
"""Judged by their arguments."""
ABSENT: Numbers = {
    "clone3": (435, 435), "openat2": (437, 437),
}  # fmt: skip
"""Answered with ENOSYS, as on an older kernel: their arguments lie in memory, where no filter sees them."""

NEWEST = 461
"""Calls with greater numbers came after this table was written (x86-64 and aarch64 share the numbers from 424)."""
X32 = 0x40000000
"""Set in the numbers of the x32 ABI, which could be used to go around a filter of x86-64 (seccomp(2), caveats)."""
