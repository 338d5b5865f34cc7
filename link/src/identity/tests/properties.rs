//! Nothing that a file may hold makes loading panic.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_in_any_file_are_refused_without_panic(file in 0_usize..3, content in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|EC PRIVATE KEY|RSA PRIVATE KEY)-----\n?|MII[A-Za-z0-9+/=]{0,40}\n?|[ {\"\\\\n]){0,8}"
            .prop_map(String::into_bytes),
        // Valid PEM around arbitrary DER reaches the parsers behind it.
        ("CERTIFICATE|PRIVATE KEY|EC PRIVATE KEY|RSA PRIVATE KEY", proptest::collection::vec(any::<u8>(), 0..120))
            .prop_map(|(label, mut der)| {
                if der.len() > 2 { der[0] = 0x30; der[1] = 0x81; der[2] = (der.len() - 3) as u8; }
                pem(&label, &der).into_bytes()
            }),
    ]) {
        let directory = GOOD.with(Set::in_directory);
        replace(directory.path(), ["certificate", "privateKey", "ca.crt"][file], &content);
        let refused = Identity::load(&Location::Directory(directory.path().into()), now());
        prop_assert!(refused.is_err());
    }

    #[test]
    fn cutting_or_flipping_a_good_file_never_panics(file in 0_usize..3, at in 0.0..1.0_f64, cut: bool, flip in 1_u8..) {
        let set = GOOD.with(Clone::clone);
        let directory = set.in_directory();
        let mut content = [set.certificate, set.key, set.ca][file].clone().into_bytes();
        let at = (at * content.len() as f64) as usize;
        if cut { content.truncate(at) } else { content[at] ^= flip }
        replace(directory.path(), ["certificate", "privateKey", "ca.crt"][file], &content);
        // A flipped bit may hit a part nobody signs or reads, so only the absence of a panic is promised.
        let _ = Identity::load(&Location::Directory(directory.path().into()), now());
    }
}

thread_local! {
    static GOOD: Set = Ca::new("root").client("agent");
}
