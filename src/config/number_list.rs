//! Lists of numbers and ranges as the kernel writes them, `0-3,7`: of CPUs, of memory nodes.

/// Bit n is number n.
pub type Mask = Vec<u64>;

/// What is wrong with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no list of numbers and ranges.
    Form,
    /// A range ends before it begins.
    Order,
    /// A number is beyond the last.
    TooLarge,
}

/// The numbers of a list, all of them below `limit`; none, if it is empty.
pub fn parse(list: &str, limit: usize) -> Result<Mask, Wrong> {
    let mut mask = Mask::new();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Err(Wrong::Form);
        }
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first > last => return Err(Wrong::Order),
            (Ok(first), Ok(last)) if last < limit => {
                mask.resize(mask.len().max(last / 64 + 1), 0);
                (first..=last).for_each(|number| mask[number / 64] |= 1 << (number % 64));
            }
            _ => return Err(Wrong::TooLarge),
        }
    }
    Ok(mask)
}

/// How many numbers are in it.
pub fn count(mask: &Mask) -> u32 {
    mask.iter().map(|word| word.count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("0-3,7", 8), Ok(vec![0x8f]));
        assert_eq!(parse("64,0", 65), Ok(vec![1, 1]));
        assert_eq!(parse("", 8), Ok(vec![]));
        assert_eq!(count(&vec![0x8f, 1]), 6);
        for bad in ["a", "1,", "-1", "1-", " 1", "0-3 ", ","] {
            assert_eq!(parse(bad, 8), Err(Wrong::Form), "{bad:?}");
        }
        assert_eq!(parse("3-1", 8), Err(Wrong::Order));
        for bad in ["8", "0-8", "99999999999999999999"] {
            assert_eq!(parse(bad, 8), Err(Wrong::TooLarge), "{bad:?}");
        }
    }
}
