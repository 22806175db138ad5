// Updates while the application is in the background, on Apple's platforms.

#if canImport(BackgroundTasks) && !os(macOS)
    import BackgroundTasks
    import Foundation

    /// Polls when the system finds it convenient. The identifier has to stand in `BGTaskSchedulerPermittedIdentifiers` of the application's Info.plist, and `processing` in its
    /// `UIBackgroundModes`.
    @available(iOS 13.0, tvOS 13.0, *)
    public enum BackgroundUpdates {
        /// Says what to do when the time has come: poll these models, and ask for the next time. To be called before the application has finished launching.
        ///
        /// When the system wants the time back, the poll is given up; the next one goes on where it stopped.
        @discardableResult
        public static func register(
            identifier: String, models: [String], every seconds: TimeInterval = 24 * 3600, runtime: @escaping @Sendable () async throws -> Runtime
        ) -> Bool {
            BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { task in
                let granted = Granted(task)
                let work = Task {
                    try? schedule(identifier: identifier, after: seconds)
                    do {
                        let runtime = try await runtime()
                        for model in models { try await runtime.updates.poll(model) }
                        granted.finish(true)
                    } catch {
                        granted.finish(false)
                    }
                }
                task.expirationHandler = { work.cancel() }
            }
        }

        /// Asks for a time. Throws what `BGTaskScheduler` throws.
        public static func schedule(identifier: String, after seconds: TimeInterval, requiresExternalPower: Bool = false) throws {
            let request = BGProcessingTaskRequest(identifier: identifier)
            request.earliestBeginDate = Date(timeIntervalSinceNow: seconds)
            request.requiresNetworkConnectivity = true
            request.requiresExternalPower = requiresExternalPower
            try BGTaskScheduler.shared.submit(request)
        }
    }

    /// A task of the system, which any thread may finish.
    private final class Granted: @unchecked Sendable {
        private let task: BGTask

        init(_ task: BGTask) { self.task = task }

        func finish(_ isDone: Bool) { task.setTaskCompleted(success: isDone) }
    }
#endif
