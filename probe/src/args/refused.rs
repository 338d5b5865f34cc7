//! The options of mosquitto's clients that are not taken: each is refused by its name, with the reason and what to do
//! instead. A value is swallowed unseen, because it may be a password.

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

/// An option that is not taken.
#[derive(Debug)]
pub struct RefusedOption {
    // What the argument parser knows it by.
    id: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Its word.
    pub long: Option<&'static str>,
    takes_value: bool,
    /// Why not.
    pub reason: &'static str,
    /// What to do instead.
    pub hint: &'static str,
}

/// Which of them was given, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefusedArgs(pub Option<&'static RefusedOption>);

// === impl RefusedOption ===

impl RefusedOption {
    /// How it is written: the letter where there is one.
    pub fn name(&self) -> String {
        match self.short {
            Some(letter) => format!("-{letter}"),
            None => format!("--{}", self.long.unwrap_or_default()),
        }
    }

    fn arg(&'static self) -> Arg {
        let arg = Arg::new(self.id).long(self.long).short(self.short);
        if self.takes_value {
            arg.action(ArgAction::Append).allow_hyphen_values(true)
        } else {
            arg.action(ArgAction::SetTrue)
        }
        .hide(true)
    }
}

// === impl RefusedArgs ===

impl clap::Args for RefusedArgs {
    fn augment_args(command: Command) -> Command {
        command.args(REFUSED.iter().map(RefusedOption::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RefusedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |option: &&RefusedOption| {
            matches.value_source(option.id) == Some(clap::parser::ValueSource::CommandLine)
        };
        Ok(Self(REFUSED.iter().find(given)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const fn option(
    id: &'static str,
    short: Option<char>,
    long: Option<&'static str>,
    takes_value: bool,
    reason: &'static str,
    hint: &'static str,
) -> RefusedOption {
    RefusedOption {
        id,
        short,
        long,
        takes_value,
        reason,
        hint,
    }
}

/// All of them.
pub static REFUSED: &[RefusedOption] = &[
    option(
        "username",
        Some('u'),
        Some("username"),
        true,
        NO_PASSWORD,
        GIVE_CERTIFICATE,
    ),
    option(
        "pw",
        Some('P'),
        Some("pw"),
        true,
        NO_PASSWORD,
        GIVE_CERTIFICATE,
    ),
    option("psk", None, Some("psk"), true, NO_PSK, GIVE_CERTIFICATE),
    option(
        "psk-identity",
        None,
        Some("psk-identity"),
        true,
        NO_PSK,
        GIVE_CERTIFICATE,
    ),
    option(
        "insecure",
        None,
        Some("insecure"),
        false,
        "the broker's certificate is always checked, its name too",
        "dial the broker by a name that is in its certificate; for a test a line in `/etc/hosts` gives it that name",
    ),
    option(
        "ciphers",
        None,
        Some("ciphers"),
        true,
        "the cipher suites are those of TLS 1.2 and 1.3 that are safe",
        "leave it out; which of them a broker takes is set there, on AWS IoT Core by the security policy of its domain",
    ),
    option(
        "tls-engine",
        None,
        Some("tls-engine"),
        true,
        PEM_FILES,
        GIVE_KEY,
    ),
    option(
        "tls-engine-kpass-sha1",
        None,
        Some("tls-engine-kpass-sha1"),
        true,
        PEM_FILES,
        GIVE_KEY,
    ),
    option("keyform", None, Some("keyform"), true, PEM_FILES, GIVE_KEY),
    option(
        "tls-use-os-certs",
        None,
        Some("tls-use-os-certs"),
        false,
        "only the CA that is given is trusted, not those of the system",
        "give the broker's CA with `--cafile` or `--capath`, for AWS IoT Core Amazon Root CA 1",
    ),
    option(
        "proxy",
        None,
        Some("proxy"),
        true,
        "connections go through no proxy, neither SOCKS nor HTTPS, and nor do those of agent and server",
        "allow outbound TCP to the broker: port 8883, or 443 on AWS IoT Core (`-p 443`)",
    ),
    option(
        "ws",
        None,
        Some("ws"),
        false,
        "MQTT over WebSocket is not used",
        "give the port of MQTT over TLS: 8883, or 443 on AWS IoT Core, which takes MQTT there without WebSocket (`-p 443`)",
    ),
    option(
        "unix",
        None,
        Some("unix"),
        true,
        "connections are TLS over TCP",
        "give `-h HOST -p PORT`",
    ),
    option(
        "bind",
        Some('A'),
        None,
        true,
        "the system's routes choose the address that connections come from",
        "set it by a route, as in `ip route replace HOST via GATEWAY src ADDRESS`",
    ),
    option(
        "srv",
        Some('S'),
        None,
        false,
        "no SRV records are looked up",
        "give the broker's name with `-h`, on AWS IoT Core what `aws iot describe-endpoint --endpoint-type iot:Data-ATS` says",
    ),
    option(
        "unsubscribe",
        Some('U'),
        Some("unsubscribe"),
        true,
        "a kept session ends as a whole, not one subscription of it",
        "end it: `probe subscribe -i ID -t FILTER -E` without `-c` starts a clean one and keeps nothing",
    ),
    option(
        "random-filter",
        None,
        Some("random-filter"),
        true,
        "every message is shown, so that what is counted is what came",
        "take a sample of the output, as in `probe subscribe -v … | awk 'rand() < 0.1'`",
    ),
];

const NO_PASSWORD: &str = "the certificate says who we are; no user name and no password is sent";
const NO_PSK: &str = "connections use certificates, no pre-shared keys";
const GIVE_CERTIFICATE: &str =
    "leave it out, and give `--identity DIR`, or `--cafile`, `--cert` and `--key`";
const PEM_FILES: &str = "keys are read from PEM files, from nothing else";
const GIVE_KEY: &str = "give the key with `--key FILE`, or with `--identity DIR`";
