import DiffAcceleration
import DiffCheckpoint
import DiffTensor

/// The second model of a session, and the method that brings it.
struct PartnerModel {
    let model: Model
    /// The method in words, for errors about the pair.
    let place: String
}

extension Plan {
    /// The second model of a session under this plan: `given`, or the one that the plan names, opened like the first one, which was opened
    /// by `opening`; nil when no method uses one. Throws `invalidArgument` when one is given that no method uses, or none where one is needed,
    /// and what opening it throws.
    func partnerModel(_ given: Model?, _ opening: ModelOptions) throws(DiffError) -> PartnerModel? {
        guard let entry = partner else {
            guard given == nil else {
                throw DiffError(.invalidArgument, "a partner model was given, but the plan has no method that uses one")
            }
            return nil
        }
        let kind = type(of: entry)
        let place = "method \"\(kind.method)\""
        if let given { return PartnerModel(model: given, place: place) }
        guard let named = entry.partnerPlace else {
            throw DiffError(
                .invalidArgument, "\(place): the plan names no \(kind.partnerOption), and the session has no partner")
        }
        if let folder = named.folder {
            // A name found in a file: no link may lead it out of the file's folder.
            let beside = try Directory(path: folder.isEmpty ? "." : folder, followingLinks: opening.followLinks)
            guard try beside.containsDirectory(named.name) else {
                throw DiffError(
                    .io,
                    "\(named.path): no folder of that name beside the plan (a link to one counts where the model was opened with "
                        + "follow_links); or give the session a partner")
            }
        }
        return PartnerModel(model: try Model(named.path, opening.forPartner), place: place)
    }
}
