// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where this node can be reached.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// An address of this node, and what is known of the network behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own {
    ip: IpAddr,
    is_loopback: bool,
    /// What the driver says; 0 where it does not.
    megabits_per_second: u64,
}

/// The addresses at which a socket bound to `port` of this node can be reached, the fastest network first.
///
/// Loopback comes last: it is right for agents of one machine only, and leads others to themselves, which they notice.
pub(super) fn of_this_node(port: u16) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let own = interfaces.into_iter().filter(|interface| !interface.is_link_local());
    let own = own.map(|interface| Own {
        ip: interface.ip(),
        is_loopback: interface.is_loopback(),
        megabits_per_second: speed(&interface.name),
    });
    sorted(own.collect()).into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn speed(interface: &str) -> u64 {
    let path = Path::new("/sys/class/net").join(interface).join("speed");
    let text = crate::files::store().read(&path).unwrap_or_default();
    // A driver that does not know says -1.
    String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
}

/// The order in which they are to be tried; equal ones stay in the order of the system.
fn sorted(mut own: Vec<Own>) -> Vec<IpAddr> {
    own.sort_by_key(|one| {
        (one.is_loopback, std::cmp::Reverse(one.megabits_per_second), one.ip.is_ipv6())
    });
    own.into_iter().map(|one| one.ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_networks_come_first_and_loopback_last() {
        let own = |ip: &str, megabits_per_second| {
            let ip: IpAddr = ip.parse().unwrap();
            Own { ip, is_loopback: ip.is_loopback(), megabits_per_second }
        };
        let found = sorted(vec![
            own("127.0.0.1", 0),
            own("10.0.0.1", 1_000),
            own("fd00::1", 100_000),
            own("192.168.0.1", 100_000),
            own("172.17.0.1", 0),
        ]);
        let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["192.168.0.1", "fd00::1", "10.0.0.1", "172.17.0.1", "127.0.0.1"]);
    }

    #[test]
    fn this_machine_has_an_address() {
        let found = of_this_node(7);
        assert!(found.iter().all(|address| address.port() == 7));
        assert!(found.iter().any(|address| address.ip().is_loopback()), "{found:?}");
    }
}
