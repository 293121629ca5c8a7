//! The machine that runs filters in the kernel (classic BPF, as much of it as they use).

use rootlet::sys::seccomp::Instruction;

/// What the kernel shows a filter (struct seccomp_data).
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub audit: u32,
    pub arguments: [u64; 6],
}

/// Runs a program as the kernel does.
pub fn decide(program: &[Instruction], call: Call) -> u32 {
    let (mut accumulator, mut at) = (0u32, 0);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        at += 1;
        let mut jump = |condition| at += usize::from(if condition { jump_true } else { jump_false });
        match code {
            0x20 => {
                accumulator = match operand {
                    0 => call.number,
                    4 => call.audit,
                    offset => (call.arguments[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
                }
            }
            0x05 => at += operand as usize,
            0x15 => jump(accumulator == operand),
            0x25 => jump(accumulator > operand),
            0x35 => jump(accumulator >= operand),
            0x54 => accumulator &= operand,
            0x06 => return operand,
            other => panic!("instruction {other:#x}"),
        }
    }
}
