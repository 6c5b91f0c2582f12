import DiffTensor
import Glibc

/// Texts for the system's error numbers.
///
/// Own texts: `strerror` is not thread-safe and speaks the host's language.
enum SystemError {
    /// An `io` error "`place`: `doing`: reason" for the error number `number`.
    static func error(_ place: String, _ doing: String, _ number: Int32) -> DiffError {
        DiffError(.io, "\(place): \(doing): \(text(number))")
    }

    static func text(_ number: Int32) -> String {
        switch number {
        case ENOENT: "no such file or directory"
        case EACCES, EPERM: "not permitted"
        case ENOTDIR: "a part of the path is not a directory"
        case EISDIR: "is a directory"
        case ELOOP: "too many symbolic links, or one that is not followed here"
        case ENAMETOOLONG: "name too long"
        case EMFILE, ENFILE: "too many open files"
        case ENOSPC, EDQUOT: "no space left"
        case EROFS: "the file system is read-only"
        case EFBIG: "file too large"
        case EIO: "the device failed"
        case EEXIST: "exists already"
        case ENOMEM: "no memory in the system"
        case ENXIO, ENODEV: "no such device"
        case EBUSY, ETXTBSY: "busy"
        default: "system error \(number)"
        }
    }
}
