//! System calls as the kernel takes them, without the C library's errno: a process that shares its maker's memory has that in
//! common with it, and each would read the other's.

use core::arch::asm;

/// A system call; its result, or -errno.
///
/// # Safety
///
/// What the call reads and writes through its arguments must be there.
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the registers of the x86-64 ABI; the kernel changes rcx and r11.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: the registers of the AArch64 ABI; the kernel changes x0 alone.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack));
    }
    // SAFETY: the registers of the RISC-V ABI; the kernel changes a0 alone.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") a => result, in("a1") b, in("a2") c, in("a3") d, in("a4") e, in("a5") f,
            options(nostack));
    }
    result
}

/// clone3(2) of a process that begins on the stack which `arguments` name: there it calls `begin` with `data`.
///
/// # Safety
///
/// `arguments` are a clone_args of that size, with a stack whose end is a multiple of 16; `begin` never returns, and what it uses of
/// this process's is there as long as it runs.
pub unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    begin: extern "C" fn(*mut libc::c_void) -> !,
    data: *mut libc::c_void,
) -> i64 {
    let result;
    // SAFETY: as of `call`; the new process has these registers and another stack, and leaves this code for `begin`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r9", "call r8", "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 => result, in("rdi") arguments, in("rsi") size, in("r8") begin, in("r9") data,
            lateout("rcx") _, lateout("r11") _);
    }
    // SAFETY: the same.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x3", "blr x2", "brk 1", "2:",
            in("x8") libc::SYS_clone3, inlateout("x0") arguments => result, in("x1") size, in("x2") begin, in("x3") data);
    }
    // SAFETY: the same.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!("ecall", "bnez a0, 2f", "mv s0, zero", "mv a0, a3", "jalr a2", "ebreak", "2:",
            in("a7") libc::SYS_clone3, inlateout("a0") arguments => result, in("a1") size, in("a2") begin, in("a3") data);
    }
    result
}
