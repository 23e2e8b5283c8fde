//! Payment card numbers.

/// Layouts of the digit groups on a card; a number without separators is one group of 13 to 19.
const LAYOUTS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Length of the card number that `text` begins with. The caller sees to it that it begins there; `joined` says that a
/// dash is before it, and then dashes do not separate its groups: they do so in a UUID.
pub(super) fn at(text: &[u8], joined: bool) -> Option<usize> {
    let plain = digits(text);
    if (13..=19).contains(&plain) {
        return (ends(&text[plain..]) && is_card(&text[..plain])).then_some(plain);
    }
    let separator = *text.get(plain).filter(|byte| matches!(byte, b' ' | b'-'))?;
    if joined && separator == b'-' {
        return None;
    }
    LAYOUTS.iter().find_map(|layout| {
        let mut length = 0;
        for (index, group) in layout.iter().enumerate() {
            if index > 0 {
                (*text.get(length)? == separator).then_some(())?;
                length += 1;
            }
            (digits(text.get(length..)?) == *group).then_some(())?;
            length += group;
        }
        let bare: Vec<u8> = text[..length].iter().copied().filter(u8::is_ascii_digit).collect();
        (ends(&text[length..]) && is_card(&bare)).then_some(length)
    })
}

fn digits(text: &[u8]) -> usize {
    text.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count()
}

/// Letters, or a point with more digits, make it something else: a hash, a fraction.
fn ends(rest: &[u8]) -> bool {
    match rest {
        [b'.', digit, ..] => !digit.is_ascii_digit(),
        [b'-', digit, ..] => !digit.is_ascii_alphanumeric(),
        [byte, ..] => !byte.is_ascii_alphanumeric() && *byte != b'_',
        [] => true,
    }
}

/// The check digit alone would take one in ten of all long numbers, order numbers and times among them, so the issuer
/// must exist too. Source: ISO/IEC 7812, and the issuers' published ranges.
fn is_card(digits: &[u8]) -> bool {
    let prefix =
        |length: usize| digits[..length].iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    let issued = match digits.len() {
        13 => prefix(1) == 4,
        14 => matches!(prefix(2), 36 | 38 | 39) || matches!(prefix(3), 300..=305),
        15 => matches!(prefix(2), 34 | 37),
        length => {
            prefix(1) == 4 && matches!(length, 16 | 19)
                || length == 16 && (matches!(prefix(2), 51..=55) || matches!(prefix(4), 2221..=2720))
                || prefix(4) == 6011
                || matches!(prefix(2), 62 | 65)
                || matches!(prefix(3), 644..=649)
                || matches!(prefix(4), 3528..=3589)
                || matches!(prefix(4), 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
    };
    issued && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
        let value = u32::from(digit - b'0') << (place % 2);
        sum + if value > 9 { value - 9 } else { value }
    });
    sum.is_multiple_of(10)
}
