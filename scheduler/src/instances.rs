//! Machines that jobs elsewhere run on: what fits one, what fits none and why, and the next size after running out
//! of memory.
//!
//! A step that asks for no GPU is never placed on a machine that has some: it goes to the queues of CPUs. So the
//! machines fall into two groups, and all questions here are about the one that a step belongs to.

use std::borrow::Cow;

const GIB: u64 = 1 << 30;
/// 1,048,576 bytes: what AWS counts memory in.
pub const MIB: u64 = 1 << 20;

/// vCPUs of a step that does not say, in thousandths.
pub const CPU_MILLIS_DEFAULT: u32 = 1_000;
/// Memory of a job whose step does not say: what Metaflow's `@batch` asks for, too.
pub const MEMORY_BYTES_DEFAULT: u64 = 4 * GIB;

/// A type of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub name: Cow<'static, str>,
    /// vCPUs in thousandths.
    pub cpu_millis: u32,
    /// As its maker states it; jobs get [`Instance::usable_bytes`].
    pub memory_bytes: u64,
    pub gpus: u32,
}

impl Instance {
    /// Memory that jobs can have: 95 % of what is installed, in whole MiB.
    ///
    /// The kernel and the platform keep some (AWS's user guide for Batch, "Compute resource memory management": 8 GiB
    /// of an m4.large are 7,985 MiB to its system, 2.5 % less), AWS's image another 32 MiB for the container agent,
    /// and the guide recommends to plan with 5 % in all ("Reserve system memory"). What a machine really registers
    /// differs a little by type and image; a job that asks for more than it waits in RUNNABLE for ever.
    pub const fn usable_bytes(&self) -> u64 {
        self.memory_bytes / 100 * 95 / MIB * MIB
    }

    const fn has(&self, cpu_millis: u32, memory_bytes: u64, gpus: u32) -> bool {
        (self.gpus > 0) == (gpus > 0)
            && self.gpus >= gpus
            && self.cpu_millis >= cpu_millis
            && self.usable_bytes() >= memory_bytes
    }

    /// The order of sizes: GPUs cost most, then memory.
    const fn size(&self) -> (u32, u64, u32) {
        (self.gpus, self.memory_bytes, self.cpu_millis)
    }
}

const fn instance(name: &'static str, cpus: u32, gib: u64, gpus: u32) -> Instance {
    Instance {
        name: Cow::Borrowed(name),
        cpu_millis: cpus * 1_000,
        memory_bytes: gib * GIB,
        gpus,
    }
}

/// Those of the compute environments that this project's infrastructure sets up.
pub static INSTANCES: [Instance; 5] = [
    instance("c6i.xlarge", 4, 8, 0),
    instance("c6i.4xlarge", 16, 32, 0),
    instance("c6i.8xlarge", 32, 64, 0),
    instance("g5.xlarge", 4, 16, 1),
    instance("p4d.24xlarge", 96, 1_152, 8),
];

/// The smallest of [`INSTANCES`] that has all of it.
pub fn fits(cpu_millis: u32, memory_bytes: u64, gpus: u32) -> Option<&'static Instance> {
    fits_in(&INSTANCES, cpu_millis, memory_bytes, gpus)
}

/// As [`fits`], of other machines.
pub fn fits_in(
    instances: &[Instance],
    cpu_millis: u32,
    memory_bytes: u64,
    gpus: u32,
) -> Option<&Instance> {
    instances
        .iter()
        .filter(|it| it.has(cpu_millis, memory_bytes, gpus))
        .min_by_key(|it| it.size())
}

/// Why nothing of [`INSTANCES`] fits: what is too much, and the most there is.
pub fn why_not(cpu_millis: u32, memory_bytes: u64, gpus: u32) -> String {
    why_not_in(&INSTANCES, cpu_millis, memory_bytes, gpus)
}

/// As [`why_not`], of other machines.
pub fn why_not_in(instances: &[Instance], cpu_millis: u32, memory_bytes: u64, gpus: u32) -> String {
    let group = || instances.iter().filter(|it| (it.gpus > 0) == (gpus > 0));
    let kind = match gpus {
        0 => "machine without GPUs",
        _ => "machine with GPUs",
    };
    let (Some(fastest), Some(widest), Some(most)) = (
        group().max_by_key(|it| (it.cpu_millis, std::cmp::Reverse(it.size()))),
        group().max_by_key(|it| (it.memory_bytes, std::cmp::Reverse(it.size()))),
        group().max_by_key(|it| (it.gpus, std::cmp::Reverse(it.size()))),
    ) else {
        return format!("there is no {kind}");
    };
    let mut reasons = Vec::new();
    if most.gpus < gpus {
        let (asked, there) = (counted(gpus, "GPU"), counted(most.gpus, "GPU"));
        reasons.push(format!(
            "{asked} are more than any {kind} has: {} has {there}",
            most.name
        ));
    }
    if fastest.cpu_millis < cpu_millis {
        reasons.push(format!(
            "{} vCPUs are more than any {kind} has: {} has {}",
            cpus(cpu_millis),
            fastest.name,
            cpus(fastest.cpu_millis)
        ));
    }
    if widest.usable_bytes() < memory_bytes {
        reasons.push(format!(
            "{} of memory are more than any {kind} has: {} has {} for jobs, of {}",
            size(memory_bytes),
            widest.name,
            size(widest.usable_bytes()),
            size(widest.memory_bytes)
        ));
    }
    if !reasons.is_empty() {
        return reasons.join("; ");
    }
    let gpus = match gpus {
        0 => String::new(),
        some => format!(", {}", counted(some, "GPU")),
    };
    format!(
        "no {kind} has {} vCPUs and {} of memory{gpus} together",
        cpus(cpu_millis),
        size(memory_bytes)
    )
}

/// The memory of the attempt after one that ran out of `memory_bytes`, in whole MiB where `max_bytes` is; `None`
/// when it is at its maximum already. It may fit no machine: see [`next_fitting_memory`].
pub fn next_memory(memory_bytes: u64, multiplier_percent: u32, max_bytes: u64) -> Option<u64> {
    let grown = u128::from(memory_bytes) * u128::from(multiplier_percent) / 100;
    let grown = u64::try_from(grown).unwrap_or(u64::MAX).min(max_bytes);
    let whole = grown.checked_next_multiple_of(MIB).unwrap_or(grown);
    let next = whole.min(max_bytes);
    (next > memory_bytes).then_some(next)
}

/// As [`next_memory`], and never more than the largest of `instances` that has the rest: so the last step up may be a
/// smaller one.
pub fn next_fitting_memory(
    instances: &[Instance],
    memory_bytes: u64,
    multiplier_percent: u32,
    max_bytes: u64,
    cpu_millis: u32,
    gpus: u32,
) -> Option<u64> {
    let most = most_memory(instances, cpu_millis, gpus)?;
    next_memory(memory_bytes, multiplier_percent, max_bytes.min(most))
}

/// The most memory that a job with these CPUs and GPUs can have; `None` when nothing fits these alone.
pub fn most_memory(instances: &[Instance], cpu_millis: u32, gpus: u32) -> Option<u64> {
    let fitting = instances.iter().filter(|it| it.has(cpu_millis, 0, gpus));
    fitting.map(Instance::usable_bytes).max()
}

/// What to ask for after running out of `memory_bytes`, and the machine that has it: `16 GiB: c6i.4xlarge`. `None`
/// when there is nothing larger.
pub fn suggestion(memory_bytes: u64, cpu_millis: u32, gpus: u32) -> Option<String> {
    let next = next_fitting_memory(&INSTANCES, memory_bytes, 200, u64::MAX, cpu_millis, gpus)?;
    // A round number, where there is one on the way.
    let round = next / GIB * GIB;
    let next = if round > memory_bytes { round } else { next };
    let instance = fits(cpu_millis, next, gpus)?;
    Some(format!("{}: {}", size(next), instance.name))
}

/// `30 GiB`, `60.8 GiB`, `512 MiB`: rounded down to a tenth.
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        _ => return format!("{bytes} bytes"),
    };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        rest => format!("{}.{rest} {name}", tenths / 10),
    }
}

/// `8`, `0.25`.
pub fn cpus(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1_000, millis % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_machine_that_has_it_all_is_chosen() {
        let name = |cpu, gib, gpus| fits(cpu, gib * GIB, gpus).map(|it| &*it.name);
        assert_eq!(name(1_000, 4, 0), Some("c6i.xlarge"));
        assert_eq!(name(4_000, 7, 0), Some("c6i.xlarge"));
        assert_eq!(
            name(4_000, 8, 0),
            Some("c6i.4xlarge"),
            "not all 8 GiB are for jobs"
        );
        assert_eq!(name(8_000, 30, 0), Some("c6i.4xlarge"));
        assert_eq!(name(17_000, 1, 0), Some("c6i.8xlarge"));
        assert_eq!(name(32_000, 60, 0), Some("c6i.8xlarge"));
        assert_eq!(name(1_000, 4, 1), Some("g5.xlarge"));
        assert_eq!(name(8_000, 30, 1), Some("p4d.24xlarge"));
        assert_eq!(name(96_000, 1_094, 8), Some("p4d.24xlarge"));
        assert_eq!(name(33_000, 1, 0), None);
        assert_eq!(name(1_000, 64, 0), None);
        assert_eq!(name(1_000, 1, 9), None);
    }

    #[test]
    fn what_fits_nothing_is_told_with_the_most_there_is() {
        assert_eq!(
            why_not(64_000, 120 * GIB, 0),
            "64 vCPUs are more than any machine without GPUs has: c6i.8xlarge has 32; 120 GiB of memory are more than \
             any machine without GPUs has: c6i.8xlarge has 60.7 GiB for jobs, of 64 GiB"
        );
        assert_eq!(
            why_not(500, GIB, 16),
            "16 GPUs are more than any machine with GPUs has: p4d.24xlarge has 8 GPUs"
        );
        let two = [instance("wide", 2, 64, 0), instance("fast", 64, 2, 0)];
        assert_eq!(
            why_not_in(&two, 2_500, 16 * GIB, 0),
            "no machine without GPUs has 2.5 vCPUs and 16 GiB of memory together"
        );
        assert_eq!(
            why_not_in(&two, 1_000, GIB, 1),
            "there is no machine with GPUs"
        );
    }

    #[test]
    fn memory_grows_to_its_maximum_and_to_the_largest_machine() {
        assert_eq!(next_memory(30 * GIB, 200, 120 * GIB), Some(60 * GIB));
        assert_eq!(next_memory(60 * GIB, 200, 100 * GIB), Some(100 * GIB));
        assert_eq!(next_memory(120 * GIB, 200, 120 * GIB), None);
        assert_eq!(next_memory(100 * MIB, 110, GIB), Some(110 * MIB));
        assert_eq!(next_memory(u64::MAX, 1_000, u64::MAX), None);
        let next = |gib: u64| next_fitting_memory(&INSTANCES, gib * GIB, 200, 120 * GIB, 8_000, 0);
        assert_eq!(next(30), Some(60 * GIB));
        assert_eq!(next(40), Some(INSTANCES[2].usable_bytes()));
        assert_eq!(next(61), None);
    }

    #[test]
    fn a_suggestion_names_the_next_machine() {
        let after = |gib: u64, gpus| suggestion(gib * GIB, 1_000, gpus);
        assert_eq!(after(8, 0).as_deref(), Some("16 GiB: c6i.4xlarge"));
        assert_eq!(after(3, 0).as_deref(), Some("6 GiB: c6i.xlarge"));
        assert_eq!(after(40, 0).as_deref(), Some("60 GiB: c6i.8xlarge"));
        assert_eq!(after(12, 1).as_deref(), Some("24 GiB: p4d.24xlarge"));
        assert_eq!(after(61, 0), None);
        assert_eq!(
            suggestion(256 * MIB, 500, 0).as_deref(),
            Some("512 MiB: c6i.xlarge")
        );
        assert_eq!(suggestion(GIB, 64_000, 0), None);
    }

    #[test]
    fn sizes_and_cpus_are_short() {
        assert_eq!(size(30 * GIB), "30 GiB");
        assert_eq!(size(1_536 * MIB), "1.5 GiB");
        assert_eq!(size(512 * MIB), "512 MiB");
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(cpus(250), "0.25");
        assert_eq!(cpus(8_000), "8");
        assert_eq!(cpus(192_000), "192");
    }

    prop_compose! {
        fn any_instance()(cpus in 1u32..193, gib in 1u64..2_048, gpus in 0u32..9) -> Instance {
            instance("any", cpus, gib, gpus)
        }
    }

    proptest! {
        #[test]
        fn what_fits_a_machine_fits_all_larger_ones(
            (small, large) in (any_instance(), any_instance()),
            cpu in 1u32..200_000,
            mib in 1u64..2_000_000,
            gpus in 0u32..9,
        ) {
            let larger = large.cpu_millis >= small.cpu_millis
                && large.memory_bytes >= small.memory_bytes
                && large.gpus >= small.gpus
                && (large.gpus > 0) == (small.gpus > 0);
            let fit = |it| fits_in(std::slice::from_ref(it), cpu, mib * MIB, gpus).is_some();
            prop_assert!(!(larger && fit(&small)) || fit(&large));
        }

        #[test]
        fn the_answer_is_the_smallest_that_fits_and_there_is_a_reason_when_there_is_none(
            machines in proptest::collection::vec(any_instance(), 0..8),
            cpu in 1u32..200_000,
            mib in 1u64..2_000_000,
            gpus in 0u32..9,
        ) {
            let alone = |it: &Instance| fits_in(std::slice::from_ref(it), cpu, mib * MIB, gpus).is_some();
            match fits_in(&machines, cpu, mib * MIB, gpus) {
                Some(found) => {
                    prop_assert!(alone(found));
                    let smaller = machines.iter().filter(|it| it.size() < found.size());
                    prop_assert_eq!(smaller.filter(|it| alone(it)).count(), 0);
                }
                None => {
                    prop_assert!(!machines.iter().any(alone));
                    prop_assert!(!why_not_in(&machines, cpu, mib * MIB, gpus).is_empty());
                }
            }
        }

        #[test]
        fn memory_only_grows_and_stays_in_its_bounds(
            bytes in 1u64..u64::MAX, percent in 110u32..1_001, max in 1u64..u64::MAX,
        ) {
            if let Some(next) = next_memory(bytes, percent, max) {
                prop_assert!(next > bytes && next <= max);
            } else {
                prop_assert!(bytes >= max || u128::from(bytes) * u128::from(percent) / 100 <= u128::from(bytes));
            }
        }
    }
}
