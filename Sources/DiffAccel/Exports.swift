// The types of the engine that appear in this module's interface: tensors, errors, plans.
@_exported public import DiffAcceleration
@_exported public import DiffTensor
