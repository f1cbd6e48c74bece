//! A list whose places are used again.

#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.places[id as usize] = Some(value);
                id
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as u32
            }
        }
    }

    /// # Panics
    /// When nothing is there: ids come from [`Slab::insert`] alone.
    pub(crate) fn get(&self, id: u32) -> &T {
        self.places[id as usize].as_ref().unwrap_or_else(|| panic!("place {id} is empty"))
    }

    /// # Panics
    /// As [`Slab::get`].
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut T {
        self.places[id as usize].as_mut().unwrap_or_else(|| panic!("place {id} is empty"))
    }

    /// # Panics
    /// As [`Slab::get`].
    pub(crate) fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        self.places[id as usize].take().unwrap_or_else(|| panic!("place {id} is empty"))
    }

    /// What may be there.
    pub(crate) fn find(&self, id: u32) -> Option<&T> {
        self.places.get(id as usize)?.as_ref()
    }

    /// Ids in use, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.places.len() as u32).filter(|&id| self.places[id as usize].is_some())
    }
}
