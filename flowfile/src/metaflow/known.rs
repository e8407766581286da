//! What Metaflow brings: its decorators, their attributes, and its other names.

/// What a decorator is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Flow,
    Step,
}

pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) target: Target,
    pub(super) attributes: &'static [&'static str],
    /// It may be given more than once.
    pub(super) multiple: bool,
    /// What is scheduled, and how, hangs on it: its attributes must be known.
    pub(super) schedules: bool,
}

const fn flow(name: &'static str, attributes: &'static [&'static str]) -> Known {
    Known {
        name,
        target: Target::Flow,
        attributes,
        multiple: false,
        schedules: false,
    }
}

const fn step(name: &'static str, attributes: &'static [&'static str]) -> Known {
    Known {
        target: Target::Step,
        ..flow(name, attributes)
    }
}

const fn scheduling(known: Known) -> Known {
    Known {
        schedules: true,
        ..known
    }
}

const fn repeatable(known: Known) -> Known {
    Known {
        multiple: true,
        ..known
    }
}

const PACKAGES: &[&str] = &["packages", "python", "disabled"];
const CONDA: &[&str] = &["packages", "libraries", "python", "disabled"];

/// As of Metaflow 2.19 with `metaflow-checkpoint`.
pub(super) const DECORATORS: [Known; 28] = [
    scheduling(flow(
        "schedule",
        &["cron", "weekly", "daily", "hourly", "timezone"],
    )),
    scheduling(flow("project", &["name", "branch", "production"])),
    scheduling(flow("trigger", &["event", "events", "options"])),
    scheduling(flow("trigger_on_finish", &["flow", "flows", "options"])),
    scheduling(repeatable(flow(
        "exit_hook",
        &["on_success", "on_error", "options"],
    ))),
    flow("pypi_base", PACKAGES),
    flow("conda_base", CONDA),
    flow("with_artifact_store", &["type", "config"]),
    repeatable(flow(
        "airflow_external_task_sensor",
        &[
            "timeout",
            "poke_interval",
            "mode",
            "exponential_backoff",
            "pool",
            "soft_fail",
            "name",
            "description",
            "external_dag_id",
            "external_task_ids",
            "allowed_states",
            "execution_delta",
            "check_existence",
        ],
    )),
    repeatable(flow(
        "airflow_s3_key_sensor",
        &[
            "timeout",
            "poke_interval",
            "mode",
            "exponential_backoff",
            "pool",
            "soft_fail",
            "name",
            "description",
            "bucket_key",
            "bucket_name",
            "wildcard_match",
            "aws_conn_id",
            "verify",
        ],
    )),
    scheduling(step("retry", &["times", "minutes_between_retries"])),
    scheduling(step("catch", &["var", "print_exception"])),
    scheduling(step("timeout", &["seconds", "minutes", "hours"])),
    scheduling(step("environment", &["vars"])),
    step("secrets", &["sources", "role", "allow_override"]),
    step("parallel", &[]),
    step("pytorch_parallel", &["master_port"]),
    step(
        "resources",
        &["cpu", "gpu", "disk", "memory", "shared_memory"],
    ),
    step(
        "batch",
        &[
            "cpu",
            "gpu",
            "memory",
            "image",
            "queue",
            "iam_role",
            "execution_role",
            "shared_memory",
            "max_swap",
            "swappiness",
            "inferentia",
            "trainium",
            "efa",
            "host_volumes",
            "efs_volumes",
            "use_tmpfs",
            "aws_batch_tags",
            "tmpfs_tempdir",
            "tmpfs_size",
            "tmpfs_path",
            "ephemeral_storage",
            "log_driver",
            "log_options",
            "executable",
            "privileged",
        ],
    ),
    step(
        "kubernetes",
        &[
            "cpu",
            "memory",
            "disk",
            "image",
            "image_pull_policy",
            "image_pull_secrets",
            "service_account",
            "secrets",
            "node_selector",
            "namespace",
            "gpu",
            "gpu_vendor",
            "tolerations",
            "labels",
            "annotations",
            "use_tmpfs",
            "tmpfs_tempdir",
            "tmpfs_size",
            "tmpfs_path",
            "persistent_volume_claims",
            "shared_memory",
            "port",
            "compute_pool",
            "executable",
            "hostname_resolution_timeout",
            "qos",
            "extended_resources",
            "security_context",
        ],
    ),
    repeatable(step(
        "card",
        &[
            "type",
            "options",
            "scope",
            "rank",
            "timeout",
            "id",
            "save_errors",
            "customize",
            "refresh_interval",
        ],
    )),
    step("pypi", PACKAGES),
    step("conda", CONDA),
    step("checkpoint", &["load_policy", "temp_dir_root", "show_card"]),
    step("model", &["load", "temp_dir_root", "best_effort_load"]),
    step("huggingface_hub", &["load", "temp_dir_root", "cache_scope"]),
    step("argo_workflows_internal", &["auto-emit-argo-events"]),
    step("step_functions_internal", &[]),
];

/// Newer or other extensions add attributes to these: an unknown one is noted, not refused.
pub(super) const EXTENDED: [&str; 8] = [
    "batch",
    "kubernetes",
    "resources",
    "card",
    "checkpoint",
    "model",
    "huggingface_hub",
    "with_artifact_store",
];

/// Step decorators of extensions that change neither the graph nor how often a step is tried.
pub(super) const OF_EXTENSIONS: [&str; 22] = [
    "app_deploy",
    "coreweave_checkpoints",
    "coreweave_s3_proxy",
    "deepspeed",
    "fast_bakery_internal",
    "gpu_profile",
    "metaflow_ray",
    "mpi",
    "nebius_checkpoints",
    "nebius_s3_proxy",
    "nvct",
    "nvidia",
    "ollama",
    "s3_proxy",
    "slurm",
    "snowpark",
    "tensorboard",
    "tensorflow_parallel",
    "test_append_card",
    "torchrun",
    "uv",
    "vllm",
];

pub(super) fn decorator(name: &str) -> Option<&'static Known> {
    DECORATORS.iter().find(|it| it.name == name)
}

/// What else flow files take from Metaflow.
const NAMES: [&str; 19] = [
    "FlowSpec",
    "step",
    "Parameter",
    "IncludeFile",
    "Config",
    "JSONType",
    "current",
    "config_expr",
    "namespaced_event_name",
    "FlowMutator",
    "StepMutator",
    "UserStepDecorator",
    "user_step_decorator",
    "Flow",
    "Run",
    "Step",
    "Task",
    "S3",
    "profile",
];

pub(super) fn is_name(name: &str) -> bool {
    NAMES.contains(&name) || decorator(name).is_some()
}
