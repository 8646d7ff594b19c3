// SPDX-License-Identifier: MIT OR Apache-2.0
//! The field against its axioms and against an implementation by others; blocks against single products.

use super::*;
use galois_2p8::{Field, IrreducablePolynomial, PrimitivePolynomialField};
use proptest::prelude::*;

#[test]
fn products_and_inverses_are_those_of_another_implementation() {
    let other = PrimitivePolynomialField::new_might_panic(IrreducablePolynomial::Poly84320);
    for a in 0..=255 {
        for b in 0..=255 {
            assert_eq!(mul(a, b), other.mult(a, b), "{a} times {b}");
        }
        if a != 0 {
            assert_eq!(inv(a), other.div(1, a), "1 / {a}");
        }
    }
}

#[test]
fn products_are_those_of_the_definition_and_commute() {
    for a in 0..=255 {
        for b in 0..=255 {
            assert_eq!(mul(a, b), product(a, b), "{a} times {b}");
            assert_eq!(mul(a, b), mul(b, a), "{a} times {b}");
        }
    }
}

#[test]
fn one_is_neutral_and_all_but_zero_have_inverses() {
    for a in 1..=255 {
        assert_eq!(mul(a, 0), 0);
        assert_eq!(mul(a, 1), a);
        assert_eq!(mul(a, inv(a)), 1, "{a}");
    }
}

#[test]
fn powers_of_two_are_all_elements_but_zero() {
    let mut powers: Vec<u8> =
        std::iter::successors(Some(1), |&power| Some(mul(power, 2))).take(255).collect();
    assert_eq!(&powers[..10], &[1, 2, 4, 8, 16, 32, 64, 128, 0x1d, 0x3a]);
    powers.sort_unstable();
    assert_eq!(powers, (1..=255).collect::<Vec<u8>>());
}

#[test]
#[should_panic(expected = "0 has no inverse")]
fn zero_has_no_inverse() {
    inv(0);
}

#[test]
#[should_panic(expected = "9 bytes into 8")]
fn refuses_to_lose_bytes_even_when_they_count_nothing() {
    multiply_add(&mut [0; 8], &[0; 9], 0);
}

/// Every factor, but more often those with ways of their own.
fn factors() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0), 1 => Just(1), 6 => any::<u8>()]
}

proptest! {
    #[test]
    fn products_associate_and_distribute(a: u8, b: u8, c: u8) {
        prop_assert_eq!(mul(a, mul(b, c)), mul(mul(a, b), c));
        prop_assert_eq!(mul(a, b ^ c), mul(a, b) ^ mul(a, c));
    }

    #[test]
    fn blocks_are_multiplied_byte_by_byte(
        acc in prop::collection::vec(any::<u8>(), 0..300),
        src in prop::collection::vec(any::<u8>(), 0..300),
        skip in 0_usize..65,
        factor in factors(),
    ) {
        let src = &src[..src.len().min(acc.len())];
        let src = &src[skip.min(src.len())..];
        let mut expected = acc.clone();
        expected.iter_mut().zip(src).for_each(|(a, &s)| *a ^= mul(factor, s));
        let mut plain = acc.clone();
        multiply_add_plain(&mut plain[..src.len()], src, factor);
        prop_assert_eq!(&plain, &expected);
        let mut chosen = acc.clone();
        multiply_add(&mut chosen, src, factor);
        prop_assert_eq!(chosen, expected);
    }

    #[test]
    fn a_block_is_multiplied_in_place(
        head in prop::collection::vec(any::<u8>(), 0..300),
        copies in 0_usize..30,
        factor in factors(),
    ) {
        let mut data = head.repeat(copies);
        let expected: Vec<u8> = data.iter().map(|&byte| mul(factor, byte)).collect();
        multiply(&mut data, factor);
        prop_assert_eq!(data, expected);
    }
}
