public import CDiffAccel
import DiffTensor

@c @implementation
public func da_model_options_init(_ options: UnsafeMutablePointer<da_model_options>?, _ size: UInt32) -> Int32 {
    boundary { () throws(DiffError) in try unsafe initialise(options, size) }
}

@c @implementation
public func da_forward_options_init(_ options: UnsafeMutablePointer<da_forward_options>?, _ size: UInt32) -> Int32 {
    boundary { () throws(DiffError) in try unsafe initialise(options, size) }
}

@c @implementation
public func da_session_options_init(_ options: UnsafeMutablePointer<da_session_options>?, _ size: UInt32) -> Int32 {
    boundary { () throws(DiffError) in try unsafe initialise(options, size) }
}
