// What `BackgroundUpdates.swift` uses of BackgroundTasks, declared by hand after Apple's documentation, so that it is compiled on Linux, too. Nothing here is ever
// linked.

import Dispatch
import Foundation

open class BGTask {
    public var expirationHandler: (() -> Void)?
    public func setTaskCompleted(success _: Bool) {}
    init() {}
}

open class BGTaskRequest {
    public var earliestBeginDate: Date?
    init() {}
}

public final class BGProcessingTaskRequest: BGTaskRequest {
    public var requiresNetworkConnectivity = false
    public var requiresExternalPower = false
    public init(identifier _: String) { super.init() }
}

public final class BGTaskScheduler: Sendable {
    public class var shared: BGTaskScheduler { BGTaskScheduler() }
    public func register(forTaskWithIdentifier _: String, using _: DispatchQueue?, launchHandler _: @escaping (BGTask) -> Void) -> Bool { true }
    public func submit(_: BGTaskRequest) throws {}
}
