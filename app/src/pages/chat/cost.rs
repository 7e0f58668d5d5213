//! Amounts of money as text, without arithmetic on numbers: the browser only shows them.

use domain::money::grouped;

/// Formats an exact amount in dollars ("0.00012345") as `domain::Picos` does: cents from one dollar up, two significant digits below,
/// rounded half to even.
pub(super) fn dollars(exact: &str) -> String {
    let (sign, size) = exact.strip_prefix('-').map_or(("", exact), |size| ("−", size));
    let (whole, fraction) = size.split_once('.').unwrap_or((size, ""));
    let is_below_one = whole.bytes().all(|digit| digit == b'0');
    let zeros = fraction.bytes().take_while(|digit| *digit == b'0').count();
    let digits = if is_below_one && zeros < fraction.len() { (zeros + 2).clamp(2, 12) } else { 2 };
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(digits).collect();
    let rest = fraction.get(digits..).unwrap_or_default();
    let mut number = format!("{whole}{kept}").into_bytes();
    if rounds_up(number.last().copied().unwrap_or(b'0'), rest) {
        increment(&mut number);
    }
    let number = String::from_utf8(number).unwrap_or_default();
    let (whole, fraction) = number.split_at(number.len().saturating_sub(digits));
    let is_zero = number.bytes().all(|digit| digit == b'0');
    format!("{}${}.{fraction}", if is_zero { "" } else { sign }, grouped(whole))
}

fn rounds_up(last: u8, rest: &str) -> bool {
    let is_odd = last % 2 == 1;
    match rest.as_bytes() {
        [] | [b'0'..=b'4', ..] => false,
        [b'5', more @ ..] if more.iter().all(|digit| *digit == b'0') => is_odd,
        _ => true,
    }
}

fn increment(number: &mut Vec<u8>) {
    for digit in number.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    number.insert(0, b'1');
}

#[cfg(test)]
mod tests {
    use super::dollars;
    use domain::Picos;

    /// A reload shows what the server formats, so both must agree on every amount.
    #[test]
    fn amounts_are_those_of_the_server() {
        let mut picos = 1_i64;
        for step in 0..4_000_i64 {
            let amount = Picos(picos);
            assert_eq!(dollars(&amount.exact()), amount.to_string(), "{}", amount.exact());
            picos = picos.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step) >> (step % 40);
            picos = picos.abs().max(1);
        }
        for exact in ["0", "0.5", "0.125", "0.995", "0.0099999", "1.005", "1.015", "12.4", "999999.995", "3"] {
            let amount = exact.parse().ok().and_then(Picos::from_usd).unwrap();
            assert_eq!(dollars(exact), amount.to_string(), "{exact}");
        }
    }
}
