//! Work that goes on after the answer to the delivery that caused it. It is counted, for those who must leave nothing
//! behind.

use tokio_util::task::TaskTracker;

#[derive(Default)]
pub struct Afterwork(TaskTracker);

impl Afterwork {
    /// Nobody hears how it ends.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }

    /// Returns once nothing goes on any more.
    pub async fn done(&self) {
        self.0.close();
        self.0.wait().await;
        self.0.reopen();
    }
}
