//! A network, as `--exclude` takes it.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that are left alone: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(super) address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let bad = || format!("{text:?} is no network; write one as in 10.0.0.0/8 or fd00::/8");
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(bad)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    pub(super) fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    pub(super) fn mask(&self) -> Vec<u8> {
        let length = self.octets().len();
        let bit = |at: usize| u8::from(at < usize::from(self.bits));
        (0..length)
            .map(|octet| (0..8).fold(0, |byte, at| byte << 1 | bit(octet * 8 + at)))
            .collect()
    }

    pub(super) fn first(&self) -> Vec<u8> {
        let pairs = self.octets().into_iter().zip(self.mask());
        pairs.map(|(octet, mask)| octet & mask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_and_its_host_part_does_not_count() {
        let network: Network = "10.1.2.3/8".parse().unwrap();
        assert_eq!(network.mask(), [255, 0, 0, 0]);
        assert_eq!(network.first(), [10, 0, 0, 0]);
        let network: Network = "192.168.1.129/25".parse().unwrap();
        assert_eq!((network.mask()[3], network.first()[3]), (128, 128));
        assert_eq!("fd00::1".parse::<Network>().unwrap().bits, 128);
        for text in [
            "10.0.0.0/33",
            "fd00::/129",
            "here",
            "10.0.0.0/",
            "10.0.0/8",
            "1.2.3.4/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
