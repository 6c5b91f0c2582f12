// The modules whose types appear in this module's interface: tensors, errors, plans, JSON, conventions.
@_exported public import DiffAcceleration
@_exported public import DiffCheckpoint
@_exported public import DiffModels
@_exported public import DiffTensor
