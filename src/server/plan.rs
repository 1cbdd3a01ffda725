//! Which core runs on which CPU.

use crate::config::Cores;

/// A CPU for each core thread; more threads than CPUs share them in turn. None where the kernel
/// does not say which CPUs there are.
pub(super) fn cpus(cores: &Cores) -> Vec<Option<usize>> {
    let allowed: Vec<usize> = if cores.cpus.is_empty() {
        let known = core_affinity::get_core_ids().unwrap_or_default();
        known.into_iter().map(|core| core.id).collect()
    } else {
        cores.cpus.clone()
    };
    let count = if cores.count == 0 { allowed.len().max(1) } else { usize::from(cores.count) };
    if allowed.is_empty() {
        return vec![None; count];
    }
    allowed.iter().copied().map(Some).cycle().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn cores(cpus: &[usize], count: u16) -> Cores {
        Cores { cpus: cpus.to_vec(), count, ..Config::default().cores }
    }

    #[test]
    fn one_core_for_each_cpu_unless_told_otherwise() {
        assert_eq!(cpus(&cores(&[2, 5], 0)), [Some(2), Some(5)]);
        assert_eq!(cpus(&cores(&[2, 5], 1)), [Some(2)]);
    }

    #[test]
    fn more_cores_than_cpus_share_them() {
        assert_eq!(cpus(&cores(&[0, 1], 4)), [Some(0), Some(1), Some(0), Some(1)]);
    }
}
