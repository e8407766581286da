//! Where the daemon is when nobody says: where the `dalsegno.toml` of the working directory puts it.

use super::failure::{Exit, Failure, Result};
use crate::cli::UpArgs;
use crate::config::{DEFAULT_PORT, Settings};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The settings with which `dalsegno up` would start here.
pub(crate) fn settings(file: Option<&Path>, token: Option<&str>) -> Result<Settings> {
    settled(Settings::gather(&args(file, token)))
}

fn settled(settings: anyhow::Result<Settings>) -> Result<Settings> {
    settings.map_err(|error| Failure::new(Exit::Broken, format!("{error:#}")))
}

fn args(file: Option<&Path>, token: Option<&str>) -> UpArgs {
    UpArgs {
        flows_dir: "flows".into(),
        port: None,
        host: None,
        data: None,
        config: file.map(Path::to_owned),
        database: None,
        cold: false,
        log_format: None,
        log_level: None,
        token: token.map(str::to_owned),
    }
}

/// Address and token of the daemon that `dalsegno up` would start here.
pub(super) fn beside(file: Option<&Path>, token: Option<&str>) -> Result<(String, Option<String>)> {
    let settings = settled(Settings::without_secrets(&args(file, token)))
        .map_err(|it| it.help("or name the daemon's address with --server"))?;
    Ok((address(settings.listen), settings.token))
}

/// What is listened on, as an address to talk to.
fn address(mut listen: SocketAddr) -> String {
    // All addresses of this machine are reached by its own.
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    // Which free port the daemon took, its file does not tell.
    if listen.port() == 0 {
        listen.set_port(DEFAULT_PORT);
    }
    format!("http://{listen}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside_file(text: &str) -> Result<(String, Option<String>)> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let file = folder.path().join("dalsegno.toml");
        std::fs::write(&file, text).expect("the folder can be written to");
        beside(Some(&file), None)
    }

    #[test]
    fn the_daemon_is_where_the_file_beside_it_says() {
        let address = |text: &str| beside_file(text).expect("a valid file").0;
        assert_eq!(address(""), "http://127.0.0.1:8320");
        assert_eq!(address("port = 8399"), "http://127.0.0.1:8399");
        assert_eq!(address("port = 0"), "http://127.0.0.1:8320");
        assert_eq!(address("host = '::1'"), "http://[::1]:8320");
        let all = "host = '0.0.0.0'\ntoken = 'long'";
        let (address, token) = beside_file(all).expect("a valid file");
        assert_eq!(
            (address.as_str(), token.as_deref()),
            ("http://127.0.0.1:8320", Some("long"))
        );
    }

    #[test]
    fn secrets_that_only_the_daemon_has_are_not_needed_to_find_it() {
        let webhook = "port = 8399\n[[webhooks]]\nname = 'hook'\nverify = 'github'\nsecret_env = 'DALSEGNO_NOT_SET'";
        let (address, _) = beside_file(webhook).expect("an address");
        assert_eq!(address, "http://127.0.0.1:8399");
    }

    #[test]
    fn a_file_that_is_not_usable_is_told_with_the_way_around_it() {
        let failure = beside_file("prot = 1").expect_err("an unknown key");
        assert!(
            failure.text.contains("dalsegno.toml is not usable"),
            "{failure:?}"
        );
        assert_eq!(failure.help, ["or name the daemon's address with --server"]);
    }
}
