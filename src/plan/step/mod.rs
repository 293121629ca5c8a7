//! The verbs. What the child can do to the host is these five enums, and nothing else.
//!
//! Steps are plain data, made ready by the parent: running one neither allocates nor formats. How they read, and what
//! mends those that fail, is in `plan/words`.

pub mod mounting;
pub mod namespaces;
pub mod nodes;
pub mod privileges;
pub mod programs;
pub mod reaper;
pub mod resources;
pub mod trees;

use super::Slots;
use crate::sys::Result;
pub use mounting::MountStep;
pub use namespaces::NamespaceStep;
pub use privileges::PrivilegeStep;
pub use programs::ProgramStep;
pub use resources::ResourceStep;

/// One thing to do, by what it is about.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The container's files.
    Mount(MountStep),
    /// What belongs to a namespace: names, sysctls, clocks, devices.
    Namespace(NamespaceStep),
    /// Limits, processors, memory.
    Resource(ResourceStep),
    /// Identity and privileges.
    Privilege(PrivilegeStep),
    /// The program, and what it starts with.
    Program(ProgramStep),
}

impl Step {
    /// Does the step. May run in the child: no allocation, no formatting, no panic.
    pub fn run(&self, slots: &mut Slots) -> Result<()> {
        match self {
            Step::Mount(step) => step.run(slots),
            Step::Namespace(step) => step.run(slots),
            Step::Resource(step) => step.run(slots),
            Step::Privilege(step) => step.run(slots),
            Step::Program(step) => step.run(slots),
        }
    }
}

macro_rules! from {
    ($($kind:ident $verb:ident),+) => {$(
        impl From<$verb> for Step {
            fn from(step: $verb) -> Step {
                Step::$kind(step)
            }
        }
    )+};
}

from! { Mount MountStep, Namespace NamespaceStep, Resource ResourceStep, Privilege PrivilegeStep, Program ProgramStep }
