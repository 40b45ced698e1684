//! Questions to the running instance, over its admin address.

use http::Method;
use serde::de::DeserializeOwned;

use super::{Instance, NoAnswer};

impl Instance {
    /// GET of a path at the admin address, read as JSON. Some answer 503 with the same body: that they are not ready.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        let text = self.ask_text(Method::GET, path, None).await?;
        serde_json::from_str(&text).map_err(|_| NoAnswer::Foreign(self.admin.clone()))
    }

    /// The answer's text; a status of an error with `body`'s own words is for the caller to show.
    pub async fn ask_text(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<String, NoAnswer> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.admin)).headers(self.headers.clone());
        if let Some(body) = body {
            request = request.body(body);
        }
        let unreachable = |_| NoAnswer::Unreachable(self.admin.clone());
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if status != 200 && status != 503 {
            return Err(self.refused(status));
        }
        response.text().await.map_err(unreachable)
    }
}
