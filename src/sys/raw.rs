//! System calls as the kernel takes them, without the C library's errno: a process that shares its maker's memory has that in
//! common with it, and each would read the other's.

use core::arch::asm;

/// A system call; its result, or -errno.
///
/// # Safety
///
/// What the call reads and writes through its arguments must be there.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let result;
    // SAFETY: the registers of the x86-64 ABI; the kernel changes rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// A system call; its result, or -errno.
///
/// # Safety
///
/// What the call reads and writes through its arguments must be there.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let result;
    // SAFETY: the registers of the AArch64 ABI; the kernel changes x0 alone.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") arguments[0] => result, in("x1") arguments[1], in("x2") arguments[2],
            in("x3") arguments[3], in("x4") arguments[4], in("x5") arguments[5], options(nostack));
    }
    result
}

/// A system call; its result, or -errno.
///
/// # Safety
///
/// What the call reads and writes through its arguments must be there.
#[cfg(target_arch = "riscv64")]
pub unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let result;
    // SAFETY: the registers of the RISC-V ABI; the kernel changes a0 alone.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") arguments[0] => result, in("a1") arguments[1], in("a2") arguments[2],
            in("a3") arguments[3], in("a4") arguments[4], in("a5") arguments[5], options(nostack));
    }
    result
}

/// clone3(2) of a process that begins on the stack which `arguments` name: there it calls `begin` with `data`.
///
/// # Safety
///
/// `arguments` are a clone_args of that size, with a stack whose end is a multiple of 16; `begin` never returns, and what it uses of
/// this process's is there as long as it runs.
#[cfg(target_arch = "x86_64")]
pub unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    begin: extern "C" fn(*mut libc::c_void) -> !,
    data: *mut libc::c_void,
) -> i64 {
    let result;
    // SAFETY: as of `call`; the new process has these registers and another stack, and leaves this code for `begin`.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r9", "call r8", "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 => result, in("rdi") arguments, in("rsi") size, in("r8") begin, in("r9") data,
            lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// clone3(2) of a process that begins on the stack which `arguments` name: there it calls `begin` with `data`.
///
/// # Safety
///
/// `arguments` are a clone_args of that size, with a stack whose end is a multiple of 16; `begin` never returns, and what it uses of
/// this process's is there as long as it runs.
#[cfg(target_arch = "aarch64")]
pub unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    begin: extern "C" fn(*mut libc::c_void) -> !,
    data: *mut libc::c_void,
) -> i64 {
    let result;
    // SAFETY: as of `call`; the new process has these registers and another stack, and leaves this code for `begin`.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x3", "blr x2", "brk 1", "2:",
            in("x8") libc::SYS_clone3, inlateout("x0") arguments => result, in("x1") size, in("x2") begin, in("x3") data);
    }
    result
}

/// clone3(2) of a process that begins on the stack which `arguments` name: there it calls `begin` with `data`.
///
/// # Safety
///
/// `arguments` are a clone_args of that size, with a stack whose end is a multiple of 16; `begin` never returns, and what it uses of
/// this process's is there as long as it runs.
#[cfg(target_arch = "riscv64")]
pub unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    begin: extern "C" fn(*mut libc::c_void) -> !,
    data: *mut libc::c_void,
) -> i64 {
    let result;
    // SAFETY: as of `call`; the new process has these registers and another stack, and leaves this code for `begin`.
    unsafe {
        asm!("ecall", "bnez a0, 2f", "mv s0, zero", "mv a0, a3", "jalr a2", "ebreak", "2:",
            in("a7") libc::SYS_clone3, inlateout("a0") arguments => result, in("a1") size, in("a2") begin, in("a3") data);
    }
    result
}
