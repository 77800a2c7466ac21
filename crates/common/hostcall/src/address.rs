//! Internet addresses as words of the block.

use core::net::{IpAddr, Ipv6Addr};

/// An address as the block has it: the 16 bytes of an IPv6 address, bytes 0 to 7 and 8 to 15 each as one
/// big-endian number. An IPv4 address is in its IPv6 spelling, `::ffff:a.b.c.d`.
#[must_use]
pub fn address_words(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// The address of two words; any two are one. IPv4 addresses come out as such.
#[must_use]
pub fn address_of(words: [u64; 2]) -> IpAddr {
    let bits = u128::from(words[0]) << 64 | u128::from(words[1]);
    Ipv6Addr::from_bits(bits).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for (text, words) in [
            ("0.0.0.0", [0, 0xffff_0000_0000]),
            ("192.0.2.1", [0, 0xffff_c000_0201]),
            ("::", [0, 0]),
            ("2001:db8::1", [0x2001_0db8_0000_0000, 1]),
        ] {
            let address: IpAddr = text.parse().expect("an address");
            assert_eq!(address_words(address), words, "{text}");
            assert_eq!(address_of(words), address, "{text}");
        }
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert!(address_of(address_words(mapped)).is_ipv4());
    }
}
