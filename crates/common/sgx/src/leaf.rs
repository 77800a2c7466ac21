//! Leaf numbers of ENCLS and ENCLU, and the error codes they return in EAX.

macro_rules! numbers {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$item_meta:meta])* $item:ident = $number:literal, $spelt:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $name {
            $(#[doc = $spelt] $(#[$item_meta])* $item = $number,)+
        }

        impl $name {
            /// The one with this number, if the manual defines it.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$item),)+
                    _ => None,
                }
            }

            /// Its name, as the manual spells it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$item => $spelt,)+
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

numbers! {
    /// Leaves of ENCLU (user mode), the number in EAX.
    pub enum Enclu {
        Ereport = 0, "EREPORT";
        Egetkey = 1, "EGETKEY";
        Eenter = 2, "EENTER";
        Eresume = 3, "ERESUME";
        Eexit = 4, "EEXIT";
        Eaccept = 5, "EACCEPT";
        Emodpe = 6, "EMODPE";
        Eacceptcopy = 7, "EACCEPTCOPY";
        Edeccssa = 9, "EDECCSSA";
    }
}

numbers! {
    /// Leaves of ENCLS (kernel mode), the number in EAX.
    pub enum Encls {
        Ecreate = 0x00, "ECREATE";
        Eadd = 0x01, "EADD";
        Einit = 0x02, "EINIT";
        Eremove = 0x03, "EREMOVE";
        Edbgrd = 0x04, "EDBGRD";
        Edbgwr = 0x05, "EDBGWR";
        Eextend = 0x06, "EEXTEND";
        Eldb = 0x07, "ELDB";
        Eldu = 0x08, "ELDU";
        Eblock = 0x09, "EBLOCK";
        Epa = 0x0a, "EPA";
        Ewb = 0x0b, "EWB";
        Etrack = 0x0c, "ETRACK";
        Eaug = 0x0d, "EAUG";
        Emodpr = 0x0e, "EMODPR";
        Emodt = 0x0f, "EMODT";
        Erdinfo = 0x10, "ERDINFO";
        Etrackc = 0x11, "ETRACKC";
        Eldbc = 0x12, "ELDBC";
        Elduc = 0x13, "ELDUC";
    }
}

numbers! {
    /// Error codes (SDM Vol. 3D, "Error Codes Returned by Intel SGX Instructions"). 0 is success and not
    /// an error code.
    pub enum ErrorCode {
        InvalidSigStruct = 1, "SGX_INVALID_SIG_STRUCT";
        InvalidAttribute = 2, "SGX_INVALID_ATTRIBUTE";
        Blkstate = 3, "SGX_BLKSTATE";
        InvalidMeasurement = 4, "SGX_INVALID_MEASUREMENT";
        NotBlockable = 5, "SGX_NOTBLOCKABLE";
        PgInvld = 6, "SGX_PG_INVLD";
        EpcPageConflict = 7, "SGX_EPC_PAGE_CONFLICT";
        InvalidSignature = 8, "SGX_INVALID_SIGNATURE";
        MacCompareFail = 9, "SGX_MAC_COMPARE_FAIL";
        PageNotBlocked = 10, "SGX_PAGE_NOT_BLOCKED";
        NotTracked = 11, "SGX_NOT_TRACKED";
        VaSlotOccupied = 12, "SGX_VA_SLOT_OCCUPIED";
        ChildPresent = 13, "SGX_CHILD_PRESENT";
        EnclaveAct = 14, "SGX_ENCLAVE_ACT";
        EntryepochLocked = 15, "SGX_ENTRYEPOCH_LOCKED";
        InvalidEinittoken = 16, "SGX_INVALID_EINITTOKEN";
        PrevTrkIncmpl = 17, "SGX_PREV_TRK_INCMPL";
        PgIsSecs = 18, "SGX_PG_IS_SECS";
        PageAttributesMismatch = 19, "SGX_PAGE_ATTRIBUTES_MISMATCH";
        PageNotModifiable = 20, "SGX_PAGE_NOT_MODIFIABLE";
        PageNotDebuggable = 21, "SGX_PAGE_NOT_DEBUGGABLE";
        InvalidCounter = 25, "SGX_INVALID_COUNTER";
        PgNonepc = 26, "SGX_PG_NONEPC";
        TrackNotRequired = 27, "SGX_TRACK_NOT_REQUIRED";
        InvalidCpusvn = 32, "SGX_INVALID_CPUSVN";
        InvalidIsvsvn = 64, "SGX_INVALID_ISVSVN";
        UnmaskedEvent = 128, "SGX_UNMASKED_EVENT";
        InvalidKeyname = 256, "SGX_INVALID_KEYNAME";
    }
}
