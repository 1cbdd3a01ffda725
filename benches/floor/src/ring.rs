//! One io_uring as a single-threaded server wants it, with a ring of provided receive buffers.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

const SUBMISSIONS: u32 = 4_096;
const COMPLETIONS: u32 = 4 * SUBMISSIONS;
const GROUP: u16 = 0;
const PAGE: usize = 4_096;

/// What a completion belongs to, packed into its user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A multishot accept.
    Accept,
    /// A multishot receive of this connection.
    Receive(u32),
    /// A send of this connection.
    Send(u32),
}

impl Operation {
    fn pack(self) -> u64 {
        match self {
            Self::Accept => 0,
            Self::Receive(connection) => 1 << 32 | u64::from(connection),
            Self::Send(connection) => 2 << 32 | u64::from(connection),
        }
    }

    fn unpack(data: u64) -> Self {
        let connection = u32::try_from(data & 0xffff_ffff).expect("masked to 32 bits");
        match data >> 32 {
            0 => Self::Accept,
            1 => Self::Receive(connection),
            _ => Self::Send(connection),
        }
    }
}

/// One completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What was asked for.
    pub operation: Operation,
    /// Bytes or descriptor; below zero an errno.
    pub result: i32,
    /// The provided buffer that holds the bytes received.
    pub buffer: Option<u16>,
    /// Whether a multishot operation goes on.
    pub more: bool,
}

/// The ring, its provided buffers, and what completed last.
pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
}

impl Ring {
    /// A ring with `buffer_count` (a power of two) receive buffers of `buffer_size` bytes.
    pub fn new(buffer_count: u16, buffer_size: usize) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let buffers = Buffers::new(buffer_count, buffer_size);
        // SAFETY: the entries outlive the ring: fields drop in the order of declaration.
        unsafe {
            ring.submitter().register_buf_ring(buffers.entries as u64, buffer_count, GROUP)?;
        }
        Ok(Self { ring, buffers })
    }

    /// Accepts connections until told otherwise.
    pub fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        self.push(opcode::AcceptMulti::new(Fd(listener)).build(), Operation::Accept)
    }

    /// Receives into provided buffers until end, error, or no buffer is left.
    pub fn receive(&mut self, socket: RawFd, connection: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket), GROUP).build();
        self.push(entry, Operation::Receive(connection))
    }

    /// Sends all of `len` bytes at `bytes`.
    ///
    /// # Safety
    /// The bytes stay where they are and unchanged until the completion.
    pub unsafe fn send(
        &mut self,
        socket: RawFd,
        connection: u32,
        bytes: *const u8,
        len: usize,
    ) -> io::Result<()> {
        let len = u32::try_from(len).expect("a send is shorter than 4 GiB");
        let entry = opcode::Send::new(Fd(socket), bytes, len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(entry, Operation::Send(connection))
    }

    /// Submits what was pushed, waits for one completion, and moves all that are there to `out`.
    pub fn wait(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        let submitted = self.ring.submit_and_wait(1);
        self.take_completions(submitted, out)
    }

    /// The same, but for no longer than that: `out` is empty if nothing came.
    pub fn wait_for(&mut self, longest: Duration, out: &mut Vec<Completion>) -> io::Result<()> {
        let longest = Timespec::from(longest);
        let submitted =
            self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&longest));
        self.take_completions(submitted, out)
    }

    fn take_completions(
        &mut self,
        submitted: io::Result<usize>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        match submitted.as_ref().map_err(io::Error::raw_os_error) {
            Ok(_) | Err(Some(libc::EBUSY | libc::EINTR | libc::ETIME)) => {}
            Err(_) => return submitted.map(drop),
        }
        out.clear();
        out.extend(self.ring.completion().map(|entry| Completion {
            operation: Operation::unpack(entry.user_data()),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        }));
        Ok(())
    }

    /// The bytes of a provided buffer that the kernel gave us.
    pub fn buffer(&mut self, id: u16) -> &mut [u8] {
        self.buffers.bytes(id)
    }

    /// Gives a provided buffer back to the kernel.
    pub fn recycle(&mut self, id: u16) {
        self.buffers.provide(id);
    }

    fn push(&mut self, entry: Entry, operation: Operation) -> io::Result<()> {
        let entry = entry.user_data(operation.pack());
        loop {
            // SAFETY: whatever the entry points to outlives it: see `send` and `Buffers`.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }
}

/// Provided buffers: one slab of memory and the ring of entries that tells the kernel about it.
struct Buffers {
    entries: *mut BufRingEntry,
    layout: Layout,
    memory: Vec<u8>,
    size: usize,
    mask: u16,
    tail: u16,
}

impl Buffers {
    fn new(count: u16, size: usize) -> Self {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE).expect("a few pages");
        // SAFETY: the layout is not empty.
        let entries = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        assert!(!entries.is_null(), "out of memory");
        let memory = vec![0; usize::from(count) * size];
        let mut buffers = Self { entries, layout, memory, size, mask: count - 1, tail: 0 };
        for id in 0..count {
            buffers.provide(id);
        }
        buffers
    }

    fn bytes(&mut self, id: u16) -> &mut [u8] {
        let start = usize::from(id) * self.size;
        &mut self.memory[start..start + self.size]
    }

    fn provide(&mut self, id: u16) {
        let address = self.bytes(id).as_mut_ptr() as u64;
        let len = u32::try_from(self.size).expect("buffers are small");
        // SAFETY: the index is below the count; the kernel reads an entry only once the tail
        // passed it; the tail is a valid u16 inside the first entry.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & self.mask));
            entry.set_addr(address);
            entry.set_len(len);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout; the ring is gone by now.
        unsafe { dealloc(self.entries.cast(), self.layout) };
    }
}
