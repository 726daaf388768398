//! The flags of `update`.

use std::path::PathBuf;

use clap::Args;

/// `update ID`. Numbers that are zero, and texts that are empty, leave things as they are.
#[derive(Debug, PartialEq, Eq, Args)]
#[command(allow_negative_numbers = true)]
pub struct Update {
    /// A file with `linux.resources` as JSON, or "-" for standard input; the other flags are ignored then
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    pub blkio_weight: Option<u64>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds; -1 is unlimited
    #[arg(long, value_name = "US")]
    pub cpu_quota: Option<i64>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_burst: Option<u64>,
    /// CPU shares, relative to other containers
    #[arg(long, value_name = "N")]
    pub cpu_share: Option<u64>,
    /// Period of the realtime scheduler, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<u64>,
    /// Time of the realtime scheduler in each period, in microseconds
    #[arg(long, value_name = "US")]
    pub cpu_rt_runtime: Option<i64>,
    /// 1: run only when nothing else does
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// CPUs to use, as "0-3,7"
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, as "0-3,7"
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Ignored: the kernel has no such limit any more
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory: Option<String>,
    /// Ignored: the kernel has no such limit any more
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory_tcp: Option<String>,
    /// Most memory, as "100m"; -1 is unlimited
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Memory that is left alone when it gets scarce, as "100m"
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,
    /// Most memory and swap together, as "100m"; -1 is unlimited
    #[arg(long, value_name = "SIZE")]
    pub memory_swap: Option<String>,
    /// Most tasks; -1 is unlimited
    #[arg(long, value_name = "N")]
    pub pids_limit: Option<i64>,
    /// Intel RDT: the schema of the L3 cache
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT: the schema of the memory bandwidth
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// The container's id
    pub id: String,
}
