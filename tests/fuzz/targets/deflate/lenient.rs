//! Deflate, bit by bit: RFC 1951, and what else libdeflate or miniz gives a meaning to. That is all
//! that may be taken for deflate and is none:
//!
//! - the length codes 286 and 287, read as 258, and the distance codes 30 and 31, read as 29;
//! - the number of codes of such a block, beyond 286 and 30;
//! - a code of one codeword of one bit, or of none: any bit is read as that codeword, or as the symbol
//!   0. RFC 1951 has such a code for distances; zlib takes it for lengths, too, and not for the lengths
//!   of codes;
//! - a code of one codeword of more bits, which has no use for them.

/// Base and extra bits of the length codes from 257 on.
const LENGTHS: [(usize, u32); 31] = {
    let mut table = [(258, 0); 31];
    let (mut code, mut base) = (0, 3);
    while code < 28 {
        let extra = if code < 8 { 0 } else { code as u32 / 4 - 1 };
        table[code] = (base, extra);
        base += 1 << extra;
        code += 1;
    }
    table
};

/// The order in which the lengths of the codes of lengths come.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What a message of such streams says, if it says anything within `limit` bytes, and whether that
/// takes more than RFC 1951 knows. Its streams follow each other to the end of the payload, which
/// may lack its tail.
pub(crate) fn read(payload: &[u8], tail: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
    let input = [payload, tail].concat();
    let mut reader = Reader { input: &input, at: 0, output: Vec::new(), limit, strays: false };
    loop {
        while !reader.block()? {}
        reader.at = reader.at.next_multiple_of(8);
        let consumed = reader.at / 8;
        let is_at_its_end = matches!(payload.get(consumed..), Some([] | [0x00]));
        if is_at_its_end || consumed == input.len() {
            return Some((reader.output, reader.strays));
        }
    }
}

struct Reader<'a> {
    input: &'a [u8],
    /// In bits.
    at: usize,
    output: Vec<u8>,
    limit: usize,
    strays: bool,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> Option<usize> {
        let mut value = 0;
        for place in 0..count {
            let byte = usize::from(*self.input.get(self.at / 8)?);
            value |= (byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    fn put(&mut self, byte: u8) -> Option<()> {
        self.output.push(byte);
        (self.output.len() <= self.limit).then_some(())
    }

    /// Whether it is the final one.
    fn block(&mut self) -> Option<bool> {
        let is_final = self.bits(1)? == 1;
        match self.bits(2)? {
            0 => self.stored()?,
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|it| [8, 9, 7, 8][[144, 256, 280].partition_point(|end| *end <= it)])
                    .collect();
                self.compressed(&Code::new(&lengths)?, &Code::new(&[5; 32])?)?;
            }
            2 => {
                let (symbols, distances) = self.codes()?;
                self.compressed(&symbols, &distances)?;
            }
            _ => return None,
        }
        Some(is_final)
    }

    fn stored(&mut self) -> Option<()> {
        self.at = self.at.next_multiple_of(8);
        let (length, complement) = (self.bits(16)?, self.bits(16)?);
        if length != !complement & 0xFFFF {
            return None;
        }
        for _ in 0..length {
            let byte = self.bits(8)?;
            self.put(byte as u8)?;
        }
        Some(())
    }

    fn codes(&mut self) -> Option<(Code, Code)> {
        let (symbols, distances) = (257 + self.bits(5)?, 1 + self.bits(5)?);
        let count = 4 + self.bits(4)?;
        let mut lengths = [0; 19];
        for place in &ORDER[..count] {
            lengths[*place] = self.bits(3)? as u8;
        }
        let code = Code::new(&lengths)?;
        self.strays |= symbols > 286 || distances > 30 || code.symbols.len() < 2;
        let mut lengths = Vec::new();
        while lengths.len() < symbols + distances {
            let (value, times) = match self.symbol(&code)? {
                16 => (*lengths.last()?, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length as u8, 1),
            };
            lengths.resize(lengths.len() + times, value);
        }
        if lengths.len() > symbols + distances {
            return None;
        }
        let (distances, symbols) = (lengths.split_off(symbols), lengths);
        let codes = (Code::new(&symbols)?, Code::new(&distances)?);
        self.strays |= codes.0.is_sparse() || codes.1.is_sparse();
        Some(codes)
    }

    fn symbol(&mut self, code: &Code) -> Option<usize> {
        if code.is_lone() {
            self.strays |= self.bits(1)? == 1 || code.symbols.is_empty();
            return Some(code.symbols.first().copied().unwrap_or(0));
        }
        let (mut word, mut first, mut before) = (0, 0, 0);
        for count in code.counts {
            word |= self.bits(1)?;
            if word < first + count {
                return Some(code.symbols[before + word - first]);
            }
            before += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        None
    }

    fn compressed(&mut self, symbols: &Code, distances: &Code) -> Option<()> {
        loop {
            match self.symbol(symbols)? {
                256 => return Some(()),
                literal @ 0..256 => self.put(literal as u8)?,
                long => {
                    self.strays |= long > 285;
                    let (base, extra) = LENGTHS[long - 257];
                    let length = base + self.bits(extra)?;
                    let code = self.symbol(distances)?;
                    self.strays |= code > 29;
                    let distance = self.distance(code.min(29))?;
                    for _ in 0..length {
                        let from = self.output.len().checked_sub(distance)?;
                        self.put(self.output[from])?;
                    }
                }
            }
        }
    }

    fn distance(&mut self, code: usize) -> Option<usize> {
        if code < 4 {
            return Some(code + 1);
        }
        let extra = code as u32 / 2 - 1;
        Some(1 + ((2 + code % 2) << extra) + self.bits(extra)?)
    }
}

/// Codewords by their length, and their symbols in order.
struct Code {
    counts: [usize; 15],
    symbols: Vec<usize>,
}

impl Code {
    /// None if there are more codewords than there is room for, or two and more of fewer.
    fn new(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; 15];
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|it| lengths[*it] > 0).collect();
        symbols.sort_by_key(|it| lengths[*it]);
        let mut used = 0;
        for symbol in &symbols {
            let length = usize::from(lengths[*symbol]);
            counts[length - 1] += 1;
            used += 1 << (15 - length);
        }
        (used == 1 << 15 || symbols.len() < 2).then_some(Self { counts, symbols })
    }

    /// Of one codeword of a bit, or of none.
    fn is_lone(&self) -> bool {
        self.symbols.len() == self.counts[0] && self.counts[0] < 2
    }

    /// Of one codeword of more.
    fn is_sparse(&self) -> bool {
        self.symbols.len() == 1 && !self.is_lone()
    }
}
